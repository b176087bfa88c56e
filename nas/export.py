"""The winner as plain PyTorch: a folder that needs nothing of ours, checked in a fresh process."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from estimators.class_figures import ClassFigures
from nas.drawing import draw
from nas.errors import NasError
from nas.limits import format_quantity
from nas.run_folder import write_text
from nas.terminal import printable
from search_spaces import graph_json
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.source import model_source
from search_spaces.strict_json import dumps, loads

SCHEMA_VERSION = 1
ARCHITECTURE, MODEL, WEIGHTS, CARD, DRAWING = (
    "architecture.json",
    "model.py",
    "model.safetensors",
    "README.md",
    "architecture.svg",
)
MOST_ROWS = 100  # classes in a model card
TOLERANCE = 1e-5  # largest difference of outputs, relative to the largest one

_PROBE = """
import importlib.util, json, sys
import torch
from safetensors.torch import load_file
folder, cls, weights = sys.argv[1:4]
spec = importlib.util.spec_from_file_location("model", folder + "/model.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
model = getattr(module, cls)()
probe = load_file(folder + "/probe.safetensors")
model.load_state_dict(load_file(weights), strict=True)
model.eval()
with torch.inference_mode():
    output = model(probe["images"])
ours = {"nas", "search_spaces", "strategies", "estimators"} & set(sys.modules)
scale = probe["outputs"].abs().max().item()
error = (output - probe["outputs"]).abs().max().item()
print(json.dumps({"error": error / scale if scale else error, "imported": sorted(ours)}))
"""


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


def export(winner: Winner, folder: Path) -> float | None:
    """Write the folder, after its source and weights were checked in a fresh interpreter.

    Args:
        winner: What to write.
        folder: Where; must not exist yet, or be empty.

    Returns:
        The largest difference of outputs between ``model.py`` and the network that was trained,
        relative to the largest output; None without weights.

    Raises:
        NasError: If the folder holds something (exit code 2) or cannot be written (5).
        RuntimeError: If the check fails, which is a defect of ours; nothing is written then.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise NasError(f"{folder} is there already; choose another folder", exit_code=2)
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.tmp-", dir=folder.parent))
    except OSError as error:
        raise NasError(f"cannot write {folder}: {error.strerror}", exit_code=5) from error
    try:
        write_text(staging / MODEL, model_source(winner.graph))
        write_text(staging / DRAWING, draw(winner.graph, winner.graph.scopes[0].title))
        write_text(staging / ARCHITECTURE, dumps(_document(winner), indent=1) + "\n")
        error_found = None
        if winner.weights is not None:
            weights = {name: value.contiguous() for name, value in winner.weights.items()}
            _save(weights, staging / WEIGHTS)
            error_found = check_in_fresh_process(winner.graph, weights, staging)
        write_text(staging / CARD, _card(winner, staging, error_found))
        staging.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        staging.replace(folder)
    except OSError as error:
        raise NasError(f"cannot write {folder}: {error.strerror}", exit_code=5) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return error_found


def check_in_fresh_process(graph: Graph, weights: Mapping[str, Tensor], folder: Path) -> float:
    """Compare ``model.py`` and the weights in ``folder`` with the network built from ``graph``.

    Returns:
        The largest difference of outputs on random images, relative to the largest output.

    Raises:
        RuntimeError: If it exceeds ``TOLERANCE``, or ``model.py`` needs a package of ours.
    """
    model = build(graph)
    model.load_state_dict(dict(weights), strict=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((2, *graph.input_shape), generator=generator)
    with torch.inference_mode():
        outputs = model.eval()(images)
    probe = folder / "probe.safetensors"
    _save({"images": images, "outputs": outputs}, probe)
    title = graph.scopes[0].title
    command = [sys.executable, "-P", "-B", "-c", _PROBE, str(folder), title, str(folder / WEIGHTS)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(  # noqa: S603 - our own interpreter and script
        command, capture_output=True, text=True, timeout=600, check=False, env=environment
    )
    probe.unlink()
    if result.returncode != 0:
        raise RuntimeError(f"the exported model.py does not run: {result.stderr[-2000:]}")
    report = loads(result.stdout.strip().splitlines()[-1])
    if report["imported"] or not report["error"] <= TOLERANCE:
        raise RuntimeError(f"the exported model.py differs from what was trained: {report}")
    return float(report["error"])


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors so that they are on the disk before anything names them."""
    with path.open("wb") as file:
        file.write(save(tensors))
        file.flush()
        os.fsync(file.fileno())


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
    if winner.figures is not None:
        document["figures"] = dict(winner.figures)
    if winner.by_class:
        document["by_class"] = [asdict(one) for one in winner.by_class]
    document["graph"] = graph_json.to_document(winner.graph)
    return document


def _card(winner: Winner, folder: Path, error: float | None) -> str:
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
    if error is not None:
        rows["Checked"] = (
            f"{MODEL} with {WEIGHTS} was run in a fresh process: its outputs differ from the "
            f"trained network's by {error:.1e} of the largest one"
        )
    table = "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items())
    parts = [
        f"# {title}\n",
        f"A convolutional network of {format_quantity(graph.params)} parameters.\n",
        f"![Stages and blocks]({DRAWING})\n",
        f"| | |\n|---|---|\n{table}\n",
        *_classes(winner),
        _usage(title, winner, (channels, height, width)),
        _sums(folder),
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


def _sums(folder: Path) -> str:
    rows = [
        f"| `{name}` | `{hashlib.sha256((folder / name).read_bytes()).hexdigest()}` |"
        for name in (ARCHITECTURE, DRAWING, MODEL, WEIGHTS)
        if (folder / name).exists()
    ]
    return "## SHA-256\n\n| | |\n|---|---|\n" + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    """Text that cannot break out of its place in the card."""
    plain = printable(text)[:300]
    for sign in "\\|<>[]`*~&":
        plain = plain.replace(sign, "\\" + sign)
    return plain
