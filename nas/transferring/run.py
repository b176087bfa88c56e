"""``nas transfer``: from a trained network and images to an exported network, and why so."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from estimators.data import ImageData
from estimators.training import Training
from nas.configuration import whole_number
from nas.datasets import Data, is_path, options
from nas.device import resolve_device
from nas.errors import usage_error
from nas.export import Preprocessing, Winner, check_new, export
from nas.images import images_of
from nas.real_images import few_images
from nas.transferring.choice import MODES, Choice, Probed, choose
from nas.transferring.network import Transfer
from nas.transferring.source import Source, source_of
from search_spaces import architecture as architecture_format
from search_spaces.architecture import lower

# A tenth of the rate of a training from random weights, which is AdamW's 4e-3: the weights are
# good already.
LEARNING_RATE = 4e-4
BATCH = 32
STEPS, EPOCHS = 200, 5  # of fine-tuning: at least


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks for.

    Attributes:
        mode: ``linear``: all weights stay, the last layer is fitted anew. ``probe``: the network
            ends at the stage whose features a linear classifier does best with. ``last``: the
            last stages are trained further, at a tenth of the usual rate. ``full``: all are.
            ``auto``: one of these, by ``choice.choose``. Fine-tuning begins with the result of
            ``linear`` (arXiv:2202.10054).
        stages: How many of the last ones, for ``last``; None for the later half.
        epochs: Passes over the training images when fine-tuning; None for as many as make
            ``STEPS`` steps, at least ``EPOCHS``.
    """

    mode: str = "auto"
    stages: int | None = None
    epochs: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a transfer.

    Attributes:
        choice: What was done.
        kept: ``linear`` where fine-tuning did not pay on the validation images, so that the
            network it began with is kept; else the mode.
        curve: The classifiers on the stages; empty where none were needed.
        validation: Every metric on the validation images.
        test: Every metric on the test images, which are read once.
        seconds: Time it took.
        images: The data as the network reads them.
        winner: The network.
    """

    choice: Choice
    kept: str
    curve: tuple[Probed, ...]
    validation: Mapping[str, float]
    test: Mapping[str, float]
    seconds: float
    images: ImageData
    winner: Winner


def transfer(  # noqa: PLR0913 - the options of the command line, by name
    source: str | Path,
    out: str | Path,
    *,
    data: Data = "digits",
    weights: str | Path | None = None,
    image_size: str | None = None,
    group: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    mode: str = "auto",
    stages: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Outcome:
    """Use a trained network for other images and classes, and export it.

    Args:
        source: A finished run or an exported folder, or the name of a reference network.
        out: Folder to write, new or empty.
        data: As for ``nas.search``.
        weights: Safetensors file with the weights of a reference network; None for those of the
            folder.
        image_size: ``HxW`` or ``N``: what the network is to read; None for what it was trained on.
        group: As for ``nas.search``, and so are the next two.
        data_dir: Folder with the files of a published data set.
        download: Whether to fetch published files that are not there.
        mean: Per channel, of values in [0, 1]: what images the network knows had subtracted; None
            for what its folder says, or what published weights of the reference expect.
        std: What they were divided by, likewise.
        mode: See ``adapt``, and so are the rest.
        stages: How many of the last ones are trained, for ``last``.
        epochs: Of fine-tuning.
        seed: Decides every random choice, at least 0.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        NasError: If a value cannot be used, or the folder is taken (exit code 2), the training
            fails (3), or the folder cannot be written (5).
    """
    folder = Path(out)
    check_new(folder)
    seed = whole_number("--seed", seed, least=0)
    place = resolve_device(device)
    trained = source_of(str(source), None if weights is None else Path(weights), mean=mean, std=std)
    read = options(image_size if is_path(data) else None, group, data_dir, download=download)
    size = None if image_size is None else options(image_size, None).image_size
    images = images_of(data, read)
    outcome = adapt(
        trained,
        images,
        Wanted(mode, stages, epochs),
        size=size,
        seed=seed,
        device=place,
    )
    export(outcome.winner, folder, real=few_images(outcome.images, outcome.winner.graph))
    return outcome


def adapt(
    source: Source,
    images: ImageData,
    wanted: Wanted,
    *,
    size: tuple[int, int] | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Outcome:
    """What ``transfer`` exports.

    Args:
        source: The network.
        images: The data.
        wanted: What is to be done.
        size: Height and width of what the network reads; None for what it was trained on.
        seed: Decides which images are probed, the order of images, and dropout.
        device: A torch device.

    Raises:
        NasError: If a value cannot be used (exit code 2), or the training fails (3).
    """
    begin = time.monotonic()
    network = Transfer(source, images, size=size, device=device)
    _check(wanted, len(network.architecture.stages))
    curve = network.curve(seed) if wanted.mode in {"auto", "probe"} else ()
    choice = _choice(wanted, curve, network)
    architecture = network.architecture
    kept = choice.mode
    if choice.mode == "probe":
        architecture, weights = network.probe(choice.stages)
    else:
        weights = network.linear()
    validation = network.score(architecture, weights, network.images.validation)
    if choice.mode in {"last", "full"}:
        training = Training(
            epochs=_epochs(len(images.train)) if wanted.epochs is None else wanted.epochs,
            batch_size=BATCH,
            learning_rate=LEARNING_RATE,
        )
        tuned = network.tuned(choice.stages, weights, training, seed=seed)
        found = network.score(architecture, tuned, network.images.validation)
        if found["accuracy"] >= validation["accuracy"]:
            weights, validation = tuned, found
        else:
            kept = "linear"
    test = network.score(architecture, weights, network.images.test)
    data = network.images
    winner = Winner(
        graph=lower(architecture),
        architecture=architecture_format.to_document(architecture),
        weights=weights,
        preprocessing=Preprocessing(data.classes, data.mean, data.std, data.input_shape[1:]),
        figures={
            "Data": f"{data.name}: {len(data.train):,} training, {len(data.validation):,} "
            f"validation, {len(data.test):,} test images",
            "Weights": f"those of {source.name}; {_done(choice, kept)}",
            "Test accuracy": f"{test['accuracy']:.4g}, read once",
            "Validation accuracy": f"{validation['accuracy']:.4g}, which chose",
        },
    )
    seconds = time.monotonic() - begin
    return Outcome(choice, kept, curve, validation, test, seconds, data, winner)


def document(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """What ``nas transfer --json`` prints."""
    return {
        "folder": str(folder),
        "mode": outcome.choice.mode,
        "stages": outcome.choice.stages,
        "why": outcome.choice.why,
        "kept": outcome.kept,
        "curve": [asdict(probed) for probed in outcome.curve],
        "validation": dict(outcome.validation),
        "test": dict(outcome.test),
        "seconds": round(outcome.seconds, 3),
    }


def text(outcome: Outcome, folder: Path) -> str:
    """The same for the eye."""
    lines = []
    if outcome.curve:
        lines.append("accuracy of a linear classifier on the features of each stage:")
        for probed in outcome.curve:
            last = probed.stage == len(outcome.curve)
            name = "last layer" if last else f"stage {probed.stage}"
            bar = "#" * round(40 * probed.accuracy)
            lines.append(f"  {name:<10} {probed.channels:>5} {probed.accuracy:.4f} {bar}")
    choice = outcome.choice
    lines += [
        f"{choice.mode}: {choice.why}",
        f"  {_done(choice, outcome.kept)}, {outcome.seconds:.0f} s",
        f"  accuracy {outcome.test['accuracy']:.4f} on test images, read once",
        f"  accuracy {outcome.validation['accuracy']:.4f} on validation images, which chose",
        f"{folder}: the network, plain PyTorch, with weights and card",
    ]
    return "\n".join(lines)


def _done(choice: Choice, kept: str) -> str:
    """What was done to the weights."""
    if choice.mode == "probe":
        return f"up to stage {choice.stages}, a linear classifier on its features"
    if choice.mode == "linear":
        return "a new last layer"
    trained = "all stages" if choice.mode == "full" else f"the last {choice.stages} stages"
    if kept != choice.mode:
        return f"a new last layer; training {trained} did not pay on validation images"
    return f"a new last layer, then {trained} trained further at a tenth of the rate"


def _check(wanted: Wanted, everything: int) -> None:
    """Refuse what cannot be done with a network of ``everything`` stages.

    Raises:
        NasError: If something cannot (exit code 2).
    """
    mode, stages = wanted.mode, wanted.stages
    if mode not in MODES:
        raise usage_error(f"--mode must be one of {', '.join(MODES)}, got {mode[:40]!r}")
    if stages is not None and mode != "last":
        raise usage_error(f"--stages has a meaning with --mode last only, got --mode {mode}")
    if stages is not None and not 1 <= stages < everything:
        raise usage_error(f"--stages must be from 1 to {everything - 1}, got {stages}")
    if wanted.epochs is not None and wanted.epochs < 1:
        raise usage_error(f"--epochs must be at least 1, got {wanted.epochs}")


def _choice(wanted: Wanted, curve: Sequence[Probed], network: Transfer) -> Choice:
    """What is done."""
    everything = len(network.architecture.stages)
    if wanted.mode == "auto":
        train, validation = len(network.images.train), len(network.images.validation)
        return choose(curve, training_images=train, validation_images=validation)
    if wanted.mode == "probe":
        best = max(curve, key=lambda probed: probed.accuracy)
        if best.stage > everything:
            return Choice("linear", everything, "asked to probe; the last features are the best")
        return Choice("probe", best.stage, "asked for")
    if wanted.mode == "last":
        later = max(1, everything // 2)
        return Choice("last", later if wanted.stages is None else wanted.stages, "asked for")
    return Choice(wanted.mode, everything, "asked for")


def _epochs(count: int) -> int:
    return max(EPOCHS, math.ceil(STEPS / max(1, count // BATCH)))
