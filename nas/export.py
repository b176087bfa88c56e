"""The winner as plain PyTorch: a folder that needs nothing of ours, checked in a fresh process."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from estimators.class_figures import ClassFigures
from nas.drawing import draw
from nas.errors import NasError, usage_error
from nas.fresh_process import Check, compare, save_tensors
from nas.limits import format_quantity
from nas.real_images import RealImages
from nas.run_folder import write_text
from nas.terminal import printable
from search_spaces import graph_json
from search_spaces.graph import Graph
from search_spaces.source import model_source
from search_spaces.strict_json import dumps

SCHEMA_VERSION = 1
ARCHITECTURE, MODEL, WEIGHTS, CARD, DRAWING, SUMS = (
    "architecture.json",
    "model.py",
    "model.safetensors",
    "README.md",
    "architecture.svg",
    "SHA256SUMS",
)
MOST_ROWS = 100  # classes in a model card

_RUN_SOURCE = """
import importlib.util, sys
import torch
from safetensors.torch import load_file
folder, source, cls, weights = sys.argv[1:5]
spec = importlib.util.spec_from_file_location("model", folder + "/" + source)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
model = getattr(module, cls)()
model.load_state_dict(load_file(folder + "/" + weights), strict=True)
model.eval()
def run(images):
    with torch.inference_mode():
        return model(torch.from_numpy(images)).numpy()
"""

# Writes further files into the folder of a network and its weights, checks them, on images of the
# data too if there are any, and returns lines of the model card by name; see ``nas.formats``.
Format = Callable[[Graph, Mapping[str, Tensor], Path, RealImages | None], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What images must be before the network reads them.

    Attributes:
        classes: Name of each output, by position.
        mean: Per channel, of values in [0, 1]; subtracted.
        std: Per channel; divided by.
        size: Height and width of the images of the data, to which a file is resized before it is
            resized to what the network reads; None for the latter alone.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Winner:
    """What is exported.

    Attributes:
        graph: The network.
        architecture: The document of its readable form, if there is one.
        weights: Its state dict; None exports the source alone.
        preprocessing: What images must be; None if unknown.
        figures: Lines of the model card, by name, such as scores with what they were read on.
        by_class: How each class is recognised on test images, by position; empty if unknown.
    """

    graph: Graph
    architecture: Mapping[str, Any] | None = None
    weights: Mapping[str, Tensor] | None = None
    preprocessing: Preprocessing | None = None
    figures: Mapping[str, str] | None = None
    by_class: tuple[ClassFigures, ...] = ()


def check_new(folder: Path) -> None:
    """Refuse a place for a new folder that holds something.

    Raises:
        NasError: If it does (exit code 2), or cannot be looked at (5).
    """
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise NasError(f"cannot write {folder}: {error.strerror}", exit_code=5) from error
    if taken:
        raise NasError(f"{folder} is there already; choose another folder", exit_code=2)


def export(
    winner: Winner,
    folder: Path,
    formats: Sequence[Format] = (),
    real: RealImages | None = None,
) -> float | None:
    """Write the folder, after its source and weights were checked in a fresh interpreter.

    Args:
        winner: What to write.
        folder: Where; must not exist yet, or be empty.
        formats: What to write beside source and weights, from ``nas.formats.chosen``.
        real: Images of the data to check on; None for random ones alone.

    Returns:
        The largest difference of outputs between ``model.py`` and the network that was trained,
        relative to the largest output; None without weights.

    Raises:
        NasError: If the folder holds something, or there are formats but no weights (exit code
            2); if it cannot be written (5).
        RuntimeError: If a check fails, which is a defect of ours; nothing is written then.
    """
    if formats and winner.weights is None:
        raise usage_error("--format needs a network with weights; name a finished run")
    check_new(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.tmp-", dir=folder.parent))
    except OSError as error:
        raise NasError(f"cannot write {folder}: {error.strerror}", exit_code=5) from error
    try:
        write_text(staging / MODEL, model_source(winner.graph))
        write_text(staging / DRAWING, draw(winner.graph, winner.graph.scopes[0].title))
        write_text(staging / ARCHITECTURE, dumps(_document(winner), indent=1) + "\n")
        error_found = None
        rows: dict[str, str] = {}
        if winner.weights is not None:
            weights = {name: value.contiguous() for name, value in winner.weights.items()}
            save_tensors(weights, staging / WEIGHTS)
            few = None if real is None else real.few
            error_found = check_in_fresh_process(winner.graph, weights, staging, few)
            kinds = "random images" + (f" and {len(few)} of the data" if few is not None else "")
            rows["Checked"] = (
                f"{MODEL} with {WEIGHTS} was run in a fresh process on {kinds}: its outputs differ "
                f"from the trained network's by {error_found:.1e} of the largest one"
            )
            for write in formats:
                rows.update(write(winner.graph, weights, staging, real))
        write_text(staging / CARD, _card(winner, staging, rows))
        write_text(staging / SUMS, _sums(staging))
        staging.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        staging.replace(folder)
    except OSError as error:
        raise NasError(f"cannot write {folder}: {error.strerror}", exit_code=5) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return error_found


def check_in_fresh_process(
    graph: Graph, weights: Mapping[str, Tensor], folder: Path, real: Tensor | None = None
) -> float:
    """Compare ``model.py`` and the weights in ``folder`` with the network built from ``graph``.

    Returns:
        As ``fresh_process.compare``, which is handed ``real``.

    Raises:
        RuntimeError: If it exceeds ``TOLERANCE``, or ``model.py`` needs a package of ours.
    """
    return compare(source_check(graph, MODEL, WEIGHTS), graph, weights, folder, real=real)


def source_check(graph: Graph, source: str, weights: str) -> Check:
    """The check of a source and its weights, by the names of the files."""
    return Check(source, _RUN_SOURCE, (source, graph.scopes[0].title, weights))


def _document(winner: Winner) -> dict[str, Any]:
    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    if winner.architecture is not None:
        document["architecture"] = dict(winner.architecture)
    if winner.preprocessing is not None:
        document["preprocessing"] = {
            "classes": list(winner.preprocessing.classes),
            "mean": list(winner.preprocessing.mean),
            "std": list(winner.preprocessing.std),
            "size": None if winner.preprocessing.size is None else list(winner.preprocessing.size),
        }
        document["pretrained_cfg"] = _timm(winner.preprocessing, winner.graph)
    if winner.figures is not None:
        document["figures"] = dict(winner.figures)
    if winner.by_class:
        document["by_class"] = [asdict(one) for one in winner.by_class]
    document["graph"] = graph_json.to_document(winner.graph)
    return document


def _timm(preprocessing: Preprocessing, graph: Graph) -> dict[str, Any]:
    """The preprocessing in the terms of the timm library, whose other tools read them.

    Images whose size differs from what the network reads are resized once here, not twice.
    """
    return {
        "num_classes": len(preprocessing.classes),
        "input_size": [int(side) for side in graph.input_shape],
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",  # height and width are resized on their own
    }


def _card(winner: Winner, folder: Path, checks: Mapping[str, str]) -> str:
    """The model card: drawing and figures first, then how to use the folder."""
    graph = winner.graph
    title = graph.scopes[0].title
    channels, height, width = (int(side) for side in graph.input_shape)
    rows = {
        "Input": f"{channels} x {height} x {width} (channels, height, width)",
        "Output": " x ".join(str(int(side)) for side in graph.output_shape),
        "Parameters": f"{graph.params:,}",
        "MACs": f"{graph.macs:,} for one image, convolutions and linear layers",
    }
    if winner.figures is not None:
        rows = {**rows, **winner.figures, **rows}  # a file's figures do not replace ours
    rows.update(checks)
    table = "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items())
    parts = [
        f"# {title}\n",
        f"A convolutional network of {format_quantity(graph.params)} parameters.\n",
        f"![Stages and blocks]({DRAWING})\n",
        f"| | |\n|---|---|\n{table}\n",
        *_classes(winner),
        _usage(title, winner, (channels, height, width)),
        _sums_table(folder),
    ]
    return "\n".join(parts)


def _classes(winner: Winner) -> list[str]:
    """The part of the card on single classes, if they are known."""
    if not winner.by_class or winner.preprocessing is None:
        return []
    rows = [
        f"| {_cell(name)} | {one.support:,} | {one.recall:.4g} | {one.precision:.4g} | "
        f"{one.f1:.4g} |"
        for name, one in zip(winner.preprocessing.classes, winner.by_class, strict=True)
    ]
    more = f"\n{len(rows) - MOST_ROWS} more are in {ARCHITECTURE}.\n" * (len(rows) > MOST_ROWS)
    head = "| class | test images | recall | precision | F1 |\n|---|---|---|---|---|\n"
    return ["## Classes\n", head + "\n".join(rows[:MOST_ROWS]) + "\n" + more]


def _usage(title: str, winner: Winner, shape: tuple[int, int, int]) -> str:
    load = ""
    if winner.weights is not None:
        load = f'model.load_state_dict(load_file("{WEIGHTS}"))\n'
    imports = "from safetensors.torch import load_file\n" if load else ""
    snippet = (
        f"```python\nimport torch\n{imports}from model import {title}\n\n"
        f"model = {title}()\n{load}model.eval()\nwith torch.inference_mode():\n"
        f"    scores = model(torch.zeros(1, {shape[0]}, {shape[1]}, {shape[2]}))\n```\n"
    )
    needs = f"`{MODEL}` needs PyTorch (2.1 or later) and nothing else"
    if load:
        needs += "; the weights are read with the `safetensors` package"
    lines = ["## Use\n", f"{needs}.\n", snippet]
    if winner.preprocessing is not None:
        mean = ", ".join(f"{value:.6g}" for value in winner.preprocessing.mean)
        std = ", ".join(f"{value:.6g}" for value in winner.preprocessing.std)
        sizes = list(dict.fromkeys(filter(None, (winner.preprocessing.size, shape[1:]))))
        resizing = ", then to ".join(f"{height} x {width}" for height, width in sizes)
        lines.append(
            f"Images: values from 0 to 1, minus the mean ({mean}), divided by the standard "
            f"deviation ({std}), resized to {resizing} (bilinear, antialiased).\n"
        )
        shown = ", ".join(_cell(name) for name in winner.preprocessing.classes[:20])
        more = len(winner.preprocessing.classes) - 20
        lines.append(f"Classes, by output: {shown}{f' and {more} more' if more > 0 else ''}.\n")
    return "\n".join(lines)


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by name."""
    files = sorted(path.name for path in folder.iterdir())
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}


def _sums_table(folder: Path) -> str:
    rows = [f"| `{name}` | `{digest}` |" for name, digest in _digests(folder).items()]
    return "## SHA-256\n\n| | |\n|---|---|\n" + "\n".join(rows) + "\n"


def _sums(folder: Path) -> str:
    """What ``sha256sum --check`` reads, the card included."""
    return "".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items())


def _cell(text: str) -> str:
    """Text that cannot break out of its place in the card."""
    plain = printable(text)[:300]
    for sign in "\\|<>[]`*~&":
        plain = plain.replace(sign, "\\" + sign)
    return plain
