"""A file of an exported folder, run again in a fresh process and compared with the network."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from nas.errors import NasError
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.strict_json import loads

TOLERANCE = 1e-5  # largest difference of outputs, relative to the largest one
MOST_SECONDS = 600

# Ends every script, which defines ``run``: from images to outputs, both of numpy. The last argument
# is a folder with the images, which receives the outputs.
_ENDING = """
import json, sys
from safetensors.numpy import load_file, save_file
given = load_file(sys.argv[-1] + "/images.safetensors")
outputs = {name: run(images) for name, images in given.items()}
save_file(outputs, sys.argv[-1] + "/outputs.safetensors")
ours = {"nas", "search_spaces", "strategies", "estimators"} & set(sys.modules)
print(json.dumps(sorted(ours)))
"""


@dataclass(frozen=True, slots=True)
class Check:
    """How a file is run, and how near its outputs must be.

    Attributes:
        file: Name of the file in the folder, for messages.
        script: Python that defines ``run(images)``; the folder is ``sys.argv[1]``.
        arguments: Further arguments of the script.
        tolerance: Largest difference of outputs, relative to the largest one.
    """

    file: str
    script: str
    arguments: tuple[str, ...] = ()
    tolerance: float = TOLERANCE


def compare(
    check: Check,
    graph: Graph,
    weights: Mapping[str, Tensor],
    folder: Path,
    batches: Sequence[tuple[int, ...]] = (),
    real: Tensor | None = None,
) -> float:
    """Run a file on random and real images in a fresh interpreter, without any package of ours.

    Args:
        check: How.
        graph: The network that it must equal.
        weights: Its state dict.
        folder: Where the file is.
        batches: Shapes ``(batch, channels, height, width)`` of random images; two of the network's
            own size if there are none.
        real: Images of the data, as the network reads them; None for random ones alone.

    Returns:
        The largest difference of outputs, relative to the largest output of random images or of
        real ones, whichever is more.

    Raises:
        RuntimeError: If it exceeds the tolerance, or the file does not run or needs a package of
            ours: a defect of ours.
    """
    shapes = batches or [(2, *(int(side) for side in graph.input_shape))]
    generator = torch.Generator().manual_seed(0)
    random = [torch.randn(shape, generator=generator) for shape in shapes]
    kinds = [random] if real is None else [random, [real]]
    outputs = iter(run(check, [images for kind in kinds for images in kind], folder))
    model = loaded(graph, weights)
    errors = []
    with torch.inference_mode():
        for kind in kinds:
            pairs = [(model(images), next(outputs)) for images in kind]
            errors.append(difference(pairs, check.file))
    if not max(errors) <= check.tolerance:
        raise RuntimeError(f"the exported {check.file} differs from what was trained: {errors}")
    return max(errors)


def difference(pairs: Sequence[tuple[Tensor, Tensor]], file: str) -> float:
    """The largest difference of outputs, relative to the largest expected one.

    Args:
        pairs: What is expected, and what a file returns, of some batches.
        file: Its name, for messages.

    Raises:
        RuntimeError: If shapes differ, or outputs are not finite.
    """
    for expected, found in pairs:
        if found.shape != expected.shape:
            raise RuntimeError(
                f"the exported {file} returns {tuple(found.shape)} instead of "
                f"{tuple(expected.shape)}"
            )
        if not bool(torch.isfinite(found).all()):
            raise RuntimeError(f"the exported {file} returns outputs that are not finite")
    error = max(float((found - expected).abs().max()) for expected, found in pairs)
    scale = max(float(expected.abs().max()) for expected, _ in pairs)
    return error / scale if scale else error


def run(check: Check, images: Sequence[Tensor], folder: Path) -> list[Tensor]:
    """What a file returns for batches of images in a fresh interpreter.

    Args:
        check: How it is run.
        images: The batches, each ``(batch, channels, height, width)``.
        folder: Where the file is.

    Raises:
        NasError: If it takes longer than ``MOST_SECONDS`` (exit code 5).
        RuntimeError: If it does not run, or needs a package of ours: a defect of ours.
    """
    with TemporaryDirectory() as between:
        given = {str(number): batch.contiguous() for number, batch in enumerate(images)}
        save_tensors(given, Path(between, "images.safetensors"))
        command = [sys.executable, "-P", "-B", "-c", check.script + _ENDING, str(folder)]
        try:
            result = subprocess.run(  # noqa: S603 - our own interpreter and script
                [*command, *check.arguments, between],
                capture_output=True,
                text=True,
                timeout=MOST_SECONDS,
                check=False,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            )
        except subprocess.TimeoutExpired as error:
            raise NasError(
                f"export: the check of {check.file} took longer than {MOST_SECONDS} s; do the same "
                "again when this machine has time",
                exit_code=5,
            ) from error
        if result.returncode != 0:
            raise RuntimeError(f"the exported {check.file} does not run: {result.stderr[-2000:]}")
        imported = loads(result.stdout.strip().splitlines()[-1])
        if imported:
            raise RuntimeError(f"the exported {check.file} needs packages of ours: {imported}")
        outputs = load_file(Path(between, "outputs.safetensors"))
    return [outputs[number].float() for number in given]


def loaded(graph: Graph, weights: Mapping[str, Tensor]) -> torch.nn.Module:
    """The network with its weights, in eval mode."""
    model = build(graph)
    model.load_state_dict(dict(weights), strict=True)
    return model.eval()


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors so that they are on the disk before anything names them."""
    with path.open("wb") as file:
        file.write(save(tensors))
        file.flush()
        os.fsync(file.fileno())
