"""``model.onnx``: the network for ONNX Runtime and whatever else reads ONNX."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from nas.formats.torch_program import program
from nas.fresh_process import Check, compare
from nas.real_images import RealImages
from nas.run_folder import write_bytes
from search_spaces.graph import Graph
from search_spaces.primitives import AdaptiveAvgPool2d, Flatten, Linear

MODEL = "model.onnx"
OPSET = 20  # version of the operators; ONNX Runtime reads it from 1.17 on
TOLERANCE = 1e-4  # largest difference of outputs, relative to the largest one
IMAGES, SCORES = "images", "scores"  # names of input and output

RUN = """
import sys
import onnxruntime
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession(
    sys.argv[1] + "/" + sys.argv[2], options, providers=["CPUExecutionProvider"]
)
def run(images):
    return session.run(["scores"], {"images": images})[0]
"""


def write(
    graph: Graph, weights: Mapping[str, Tensor], folder: Path, real: RealImages | None
) -> dict[str, str]:
    """Write and check the model.

    Returns:
        Its line of the model card.

    Raises:
        RuntimeError: If it differs from the network, which is a defect of ours.
    """
    save(graph, weights, folder / MODEL)
    check = Check(MODEL, RUN, (MODEL,), tolerance=TOLERANCE)
    few = None if real is None else real.few
    error = compare(check, graph, weights, folder, _batches(graph), few)
    _, height, width = (int(side) for side in graph.input_shape)
    return {
        "ONNX": f"{MODEL}, opset {OPSET}, for any number of images of "
        f"{'at least ' if _is_any_size(graph) else ''}{height} x {width}, input {IMAGES}, output "
        f"{SCORES}; in ONNX Runtime its outputs differ from the trained network's by {error:.1e} "
        "of the largest one"
    }


def save(graph: Graph, weights: Mapping[str, Tensor], path: Path) -> None:
    """Write the network as ONNX, one file with its weights."""
    varying = {0: torch.export.Dim("batch")}
    if _is_any_size(graph):
        for place, name in ((2, "height"), (3, "width")):
            varying[place] = torch.export.Dim(name, min=int(graph.input_shape[place - 1]))
    converted = torch.onnx.export(
        program(graph, weights, _batches(graph)[-1], varying),
        input_names=[IMAGES],
        output_names=[SCORES],
        opset_version=OPSET,
        verbose=False,
    )
    if converted is None:
        raise RuntimeError("torch.onnx.export must return the model, got None")
    write_bytes(path, converted.model_proto.SerializeToString())


def _is_any_size(graph: Graph) -> bool:
    """Whether the network reads larger images: it yields a map then."""
    fixed = (Flatten, Linear, AdaptiveAvgPool2d)
    return len(graph.output_shape) == 3 and not any(
        isinstance(node.primitive, fixed) for node in graph.nodes
    )


def _batches(graph: Graph) -> list[tuple[int, ...]]:
    """Shapes of images to check with: one image, and several, larger ones if they may be."""
    channels, height, width = (int(side) for side in graph.input_shape)
    more = (height + height // 2, 2 * width) if _is_any_size(graph) else (height, width)
    return [(1, channels, height, width), (3, channels, *more)]
