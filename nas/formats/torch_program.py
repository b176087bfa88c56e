"""``model.pt2``: the network as a program of ``torch.export``, for any number of images."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.fresh_process import Check, compare, loaded
from nas.real_images import RealImages
from nas.run_folder import write_bytes
from search_spaces.graph import Graph

PROGRAM = "model.pt2"

_RUN = """
import sys
import torch
model = torch.export.load(sys.argv[1] + "/model.pt2").module()
def run(images):
    with torch.inference_mode():
        return model(torch.from_numpy(images)).numpy()
"""


def write(
    graph: Graph, weights: Mapping[str, Tensor], folder: Path, real: RealImages | None
) -> dict[str, str]:
    """Write and check the program.

    A fully convolutional network reads images of one size here all the same: torch asserts of
    larger ones that their map has more than one pixel, and of the others that it has one.

    Returns:
        Its line of the model card.

    Raises:
        RuntimeError: If it differs from the network, which is a defect of ours.
    """
    batches = [(count, *(int(side) for side in graph.input_shape)) for count in (1, 3)]
    traced = program(graph, weights, batches[-1], {0: torch.export.Dim("batch")})
    file = io.BytesIO()
    torch.export.save(traced, file)
    write_bytes(folder / PROGRAM, file.getvalue())
    few = None if real is None else real.few
    error = compare(Check(PROGRAM, _RUN), graph, weights, folder, batches, few)
    _, height, width = batches[0][1:]
    return {
        "torch.export": f"{PROGRAM}, for any number of images of {height} x {width}, read by "
        f"torch.export.load; its outputs differ from the trained network's by {error:.1e} of the "
        "largest one"
    }


def program(
    graph: Graph, weights: Mapping[str, Tensor], shape: tuple[int, ...], varying: Mapping[int, Any]
) -> torch.export.ExportedProgram:
    """The network traced, without the places in our files that its operations come from.

    Args:
        graph: The network.
        weights: Its state dict.
        shape: Of the images it is traced with, ``(batch, channels, height, width)``.
        varying: A ``torch.export.Dim`` for each dimension that may be another.
    """
    traced = torch.export.export(
        loaded(graph, weights),
        (torch.zeros(shape),),
        dynamic_shapes=((dict(varying),),),
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)
        node.meta.pop("nn_module_stack", None)
    return traced
