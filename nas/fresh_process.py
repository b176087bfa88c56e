"""A file of an exported folder, run again in a fresh process and compared with the network."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.strict_json import loads

TOLERANCE = 1e-5  # largest difference of outputs, relative to the largest one
MOST_SECONDS = 600
PROBE = "probe.safetensors"

# Ends every script, which defines ``run``: from images to outputs, both of numpy.
_COMPARISON = """
import json, sys
from safetensors.numpy import load_file
probe = load_file(sys.argv[1] + "/probe.safetensors")
error, scale = 0.0, 0.0
for number in range(len(probe) // 2):
    expected = probe[f"outputs.{number}"]
    output = run(probe[f"images.{number}"])
    assert output.shape == expected.shape, f"{output.shape} instead of {expected.shape}"
    assert abs(output).max() < float("inf"), "outputs that are not finite"
    error = max(error, float(abs(output - expected).max()))
    scale = max(scale, float(abs(expected).max()))
ours = {"nas", "search_spaces", "strategies", "estimators"} & set(sys.modules)
print(json.dumps({"error": error / scale if scale else error, "imported": sorted(ours)}))
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
) -> float:
    """Run a file on random images in a fresh interpreter, without any package of ours.

    Args:
        check: How.
        graph: The network that it must equal.
        weights: Its state dict.
        folder: Where the file is.
        batches: Shapes ``(batch, channels, height, width)`` of the images; two of the network's
            own size if there are none.

    Returns:
        The largest difference of outputs, relative to the largest output.

    Raises:
        RuntimeError: If it exceeds the tolerance, or the file does not run or needs a package of
            ours: a defect of ours.
    """
    shapes = batches or [(2, *(int(side) for side in graph.input_shape))]
    save_tensors(_probe(graph, weights, shapes), folder / PROBE)
    script = check.script + _COMPARISON
    command = [sys.executable, "-P", "-B", "-c", script, str(folder), *check.arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    try:
        result = subprocess.run(  # noqa: S603 - our own interpreter and script
            command,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
            env=environment,
        )
    finally:
        (folder / PROBE).unlink()
    if result.returncode != 0:
        raise RuntimeError(f"the exported {check.file} does not run: {result.stderr[-2000:]}")
    report = loads(result.stdout.strip().splitlines()[-1])
    if report["imported"] or not report["error"] <= check.tolerance:
        raise RuntimeError(f"the exported {check.file} differs from what was trained: {report}")
    return float(report["error"])


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


def _probe(
    graph: Graph, weights: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]
) -> dict[str, Tensor]:
    """Random images and what the network says of them."""
    model = loaded(graph, weights)
    generator = torch.Generator().manual_seed(0)
    probe = {}
    with torch.inference_mode():
        for number, shape in enumerate(shapes):
            images = torch.randn(shape, generator=generator)
            probe[f"images.{number}"] = images
            probe[f"outputs.{number}"] = model(images).contiguous()
    return probe
