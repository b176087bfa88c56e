"""One network trained to the end in a folder of its own: ``nas train``."""

import hashlib
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from estimators.calibration import BINS
from estimators.class_figures import ClassFigures
from estimators.determinism import cpus
from estimators.estimator import EvaluationError
from estimators.full_precision import in_faster_precision
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from estimators.scoring import scored
from estimators.snapshot import Epoch, Snapshot
from estimators.task import Classification
from nas.curve_picture import confusion_picture, curve_picture
from nas.datasets import Data, options
from nas.device import resolve_device
from nas.errors import NasError, usage_error
from nas.evaluating import figures
from nas.export import ARCHITECTURE, Preprocessing, Winner, export
from nas.fresh_process import loaded
from nas.images import images_of
from nas.interrupts import Interrupted, Interrupts
from nas.journal import Journal, read_events
from nas.lock import RunLock
from nas.real_images import few_images
from nas.run_folder import (
    BEST,
    EVENTS,
    SUMMARY,
    check_plain,
    read_json,
    tidy,
    versions,
    write_bytes,
    write_json,
    write_text,
)
from nas.terminal import say
from nas.training_order import Order, order_of, recipe_of
from nas.weights import digest
from search_spaces.strict_json import dumps

TRAINING, CHECKPOINT, CURVE = "training.json", "checkpoint.safetensors", "curve.jsonl"
CURVE_PICTURE, CONFUSION_PICTURE = "curve.svg", "confusion.svg"
SCHEMA_VERSION = 1


def train(  # noqa: PLR0913 - the options of the command line, by name
    source: str | Path,
    *,
    data: Data,
    out: str | Path,
    image_size: str | None = None,
    group: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    epochs: int | None = None,
    max_hours: float | None = None,
    seed: int = 0,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    trial: int | None = None,
) -> dict[str, Any]:
    """Train one network from fresh weights to the end, and export it with its weights.

    A folder that holds an unfinished training of the same kind goes on with the same result; one
    that is finished answers from its summary, and reads no test image again.

    Args:
        source: A run folder, an exported folder, an ``architecture.json``, or the name of a
            reference network, which is adapted to the data. Only the network is taken.
        data: See ``nas.search``.
        out: Folder: new, empty, or with this training.
        image_size: See ``nas.search``.
        group: See ``nas.search``.
        data_dir: See ``nas.search``.
        download: See ``nas.search``.
        epochs: Passes over the training images; None for those of the recipe.
        max_hours: Time that the epochs are to fill, by the pace of some steps, which is written
            down; not with ``epochs``.
        seed: Decides every random choice, at least 0.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        settings: Options of ``FullRecipe`` (see ``docs/training.md``), by name.
        trial: Which member of the front, of a run for several objectives.

    Returns:
        ``summary.json`` of the folder.

    Raises:
        NasError: If a value cannot be used, the network does not fit the data, the folder holds
            something else, or the training diverges.
        KeyboardInterrupt: After Ctrl-C or SIGTERM; the same call goes on.
    """
    if max_hours is not None and not 0 < max_hours < math.inf:
        raise usage_error(f"--max-hours must be above 0 and finite, got {max_hours}")
    if epochs is not None and settings is not None and "epochs" in settings:
        raise usage_error("--epochs and --set train.epochs are the same; leave one out")
    chosen = {
        **({} if settings is None else settings),
        **({} if epochs is None else {"epochs": epochs}),
    }
    if max_hours is not None and "epochs" in chosen:
        raise usage_error("--max-hours and a number of epochs exclude each other; leave one out")
    images = images_of(data, options(image_size, group, data_dir, download=download))
    order = order_of(
        source,
        images,
        seed=seed,
        device=resolve_device(device),
        settings=chosen,
        hours=max_hours,
        trial=trial,
    )
    folder = Path(out)
    check_plain(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NasError(f"--out: cannot make {folder}: {error.strerror}", exit_code=5) from error
    with Interrupts(0.0, say), RunLock(folder):
        try:
            return _work(order, folder)
        except Interrupted as error:
            text = f"stopped by {error.name}; the same command goes on from the last epoch"
            raise Interrupted(error.number, text) from error


def _work(order: Order, folder: Path) -> dict[str, Any]:
    """Train in a folder that this process has locked, from where it stands to its summary.

    Returns:
        ``summary.json``: a finished folder answers from it, and reads no test image again.

    Raises:
        NasError: If the folder is of another training (exit code 4), or the training diverges (3).
    """
    tidy(folder)
    recipe, of = _begun(order, folder)
    if (folder / SUMMARY).exists() and (folder / BEST / ARCHITECTURE).exists():
        document: dict[str, Any] = read_json(folder / SUMMARY, what="summary")
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return document
    task = Classification(len(order.images.classes))
    fit = FullTraining(
        order.graph, order.images, task, recipe, seed=order.seed, device=order.device
    )
    _restore(fit, folder / CHECKPOINT, of)
    try:
        _train(fit, folder, recipe, of)
        weights = fit.weights()
        validation = fit.curve[-1].validation
    except EvaluationError as error:
        raise NasError(f"training of {order.name} failed: {error}", exit_code=3) from error
    found, reads = _test(order, weights, folder)
    _export(order, recipe, weights, (found, reads), folder)
    curve = [asdict(line) for line in fit.curve]
    write_text(folder / CURVE, "".join(dumps(line) + "\n" for line in curve))
    write_text(folder / CURVE_PICTURE, curve_picture(fit.curve))
    picture = confusion_picture(found["confusion"], order.images.classes)
    write_text(folder / CONFUSION_PICTURE, picture)
    summary = {
        "schema_version": SCHEMA_VERSION,
        "network": order.name,
        "params": order.graph.params,
        "macs": order.graph.macs,
        "epochs": len(fit.curve),
        "recipe": recipe.document(),
        "classes": list(order.images.classes),
        "validation": dict(validation),
        "test": found,
        "test_reads": reads,
    }
    write_json(folder / SUMMARY, summary)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return summary


def _begun(order: Order, folder: Path) -> tuple[FullRecipe, str]:
    """The recipe of the folder, written down before anything is trained, and its identity.

    Raises:
        NasError: If the folder holds something else (exit code 4).
    """
    place, here = folder / TRAINING, order.document()
    if place.exists():
        there = read_json(place, what="training")
        known = there.get("order") if isinstance(there, dict) else None
        if known != here:
            known = known if isinstance(known, dict) else {}
            unequal = [name for name in here if known.get(name) != here[name]]
            raise NasError(
                f"--out: {folder} holds another training ({', '.join(unequal)} differ); choose "
                "another folder",
                exit_code=4,
            )
        try:
            recipe = FullRecipe(**there["recipe"])
        except (KeyError, TypeError, ValueError) as error:
            raise NasError(f"training: {place} is damaged: {error}", exit_code=4) from error
    else:
        odd = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if odd:
            raise NasError(
                f"--out: {folder} is not empty, it holds {odd[0]}; choose another folder",
                exit_code=4,
            )
        recipe = recipe_of(order.images, order.settings, cpus=_cpus(order.device))
        begin, task = time.monotonic(), Classification(len(order.images.classes))
        recipe = in_faster_precision(
            order.graph, order.images, task, recipe, device=order.device, tell=say
        )
        if order.hours is not None:
            recipe = replace(recipe, epochs=_affordable(order, recipe, begin))
        document = {"schema_version": SCHEMA_VERSION, "order": here, "recipe": recipe.document()}
        write_json(place, {**document, "versions": versions()})
    return recipe, hashlib.sha256(dumps([here, recipe.document()]).encode()).hexdigest()


def _cpus(device: str) -> int:
    """All there are, where threads wait for each other without spinning, as on the command line.

    Spinning ones beside a busy neighbour are far slower than one alone.
    """
    passive = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    return cpus() if device == "cpu" and passive else 1


def _affordable(order: Order, recipe: FullRecipe, begin: float) -> int:
    """How many epochs fill the hours since ``begin``, by the pace of some steps; at least 1.

    Raises:
        NasError: If not even these fit the memory of the device (exit code 3).
    """
    assert order.hours is not None  # noqa: S101 - the caller has looked
    task = Classification(len(order.images.classes))
    fit = FullTraining(
        order.graph, order.images, task, recipe, seed=order.seed, device=order.device
    )
    try:
        pace = fit.seconds_per_pass()
    except EvaluationError as error:
        raise NasError(f"training of {order.name} failed: {error}", exit_code=3) from error
    return max(1, int((order.hours * 3600 - (time.monotonic() - begin)) / pace))


def _restore(fit: FullTraining, place: Path, of: str) -> None:
    """Go on from the checkpoint, if there is one.

    Raises:
        NasError: If it is damaged or of another training (exit code 4).
    """
    try:
        data = place.read_bytes()
    except FileNotFoundError:
        return
    try:
        fit.restore(Snapshot.from_bytes(data, of=of))
    except ValueError as error:
        text = f"training: {place}: {error}; delete it to begin again"
        raise NasError(text, exit_code=4) from error
    say(f"goes on after {len(fit.curve)} epochs")


def _train(fit: FullTraining, folder: Path, recipe: FullRecipe, of: str) -> None:
    """Train to the end, with a checkpoint after every epoch."""
    begin, before = time.monotonic(), len(fit.curve)
    for line in fit.passes():
        write_bytes(folder / CHECKPOINT, fit.snapshot().to_bytes(of=of))
        pace = (time.monotonic() - begin) / (line.epoch - before)
        left = 0.0 if fit.done else pace * (recipe.epochs - line.epoch)
        say(f"{_told(line, recipe.epochs)}  {left / 60:.1f} min left")


def _told(line: Epoch, epochs: int) -> str:
    """One pass, for the eye."""
    found = "  ".join(
        f"validation {name} {line.validation[name]:.4f}"
        for name in ("accuracy", "log_loss")
        if name in line.validation
    )
    number = f"{line.epoch:>{len(str(epochs))}}/{epochs}"
    return f"epoch {number}  loss {line.loss:.4f}  {found}".rstrip()


def _test(order: Order, weights: Mapping[str, Tensor], folder: Path) -> tuple[dict[str, Any], int]:
    """What the test images say, and how often they were read.

    Each reading is written down first, and what it said afterwards: where a process ended between
    it and the summary, they are not read again for the same weights. A reading under which it ended
    counts as well.
    """
    place, known_by = folder / EVENTS, digest(weights)
    events = list(read_events(place)) if place.exists() else []
    before = sum(event["event"] == "test_read" for event in events)
    for event in events:
        if event["event"] == "test_figures" and event.get("weights") == known_by:
            return dict(event["figures"]), before
    model, test = loaded(order.graph, weights), order.images.test
    with Journal(place) as journal:
        journal.append("test_read", images=len(test))
        outputs = scored(model.to(order.device), test, graph=order.graph, device=order.device)
        found = figures(outputs, test.labels, order.images.classes)
        journal.append("test_figures", weights=known_by, figures=found)
    return found, before + 1


def _export(
    order: Order,
    recipe: FullRecipe,
    weights: Mapping[str, Tensor],
    test: tuple[Mapping[str, Any], int],
    folder: Path,
) -> None:
    """Write ``best/`` with the trained network and its card."""
    images, (found, reads) = order.images, test
    metrics = found["metrics"]
    times = "read once" if reads == 1 else f"read {reads} times"
    values = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    steps = ", ".join(f"{name} {value}" for name, value in recipe.document().items())
    by_class = tuple(
        ClassFigures(**{name: value for name, value in row.items() if name != "class"})
        for row in found["classes"]
    )
    winner = Winner(
        graph=order.graph,
        architecture=order.architecture,
        weights=weights,
        preprocessing=Preprocessing(
            images.classes, images.mean, images.std, images.input_shape[1:]
        ),
        figures={
            "Data": f"{images.name}: {len(images.train):,} training, "
            f"{len(images.validation):,} validation, {len(images.test):,} test images",
            "Test": f"{values}; {times}",
            "Calibration error": f"{found['calibration_error']:.4g} on test images, "
            f"{BINS} bins of equal width",
            "Weights": f"averaged weights of the last epoch: {steps}; seed {order.seed}",
        },
        by_class=by_class,
    )
    target = folder / BEST
    if target.exists():  # of a process that was killed before its summary
        target.rename(folder / f".{BEST}.old-0")
        tidy(folder)
    export(winner, target, real=few_images(images, order.graph))
