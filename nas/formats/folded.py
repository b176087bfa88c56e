"""``model_folded.py``: the network with its batch norms folded into convolutions."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from nas.errors import usage_error
from nas.export import source_check
from nas.fresh_process import compare, loaded, save_tensors
from nas.latency import latency_ms
from nas.real_images import RealImages
from nas.run_folder import write_text
from search_spaces.folding import folded, folded_norms, folded_state
from search_spaces.graph import Graph
from search_spaces.primitives import BatchNorm2d
from search_spaces.source import model_source

MODEL, WEIGHTS = "model_folded.py", "model_folded.safetensors"

# Blocks are described as they were searched.
_NOTE = "# Batch norms that followed a convolution are part of its weights and bias here.\n"


def write(
    graph: Graph, weights: Mapping[str, Tensor], folder: Path, real: RealImages | None
) -> dict[str, str]:
    """Write, check and time the folded network.

    Returns:
        Its line of the model card.

    Raises:
        NasError: If no batch norm can be folded (exit code 2).
        RuntimeError: If it differs from the network, which is a defect of ours.
    """
    count = len(folded_norms(graph))
    if not count:
        raise usage_error("--format folded needs a batch norm after a convolution; leave it out")
    after = folded(graph)
    state = folded_state(graph, {name: value.numpy() for name, value in weights.items()})
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    write_text(folder / MODEL, _NOTE + model_source(after))
    save_tensors(tensors, folder / WEIGHTS)
    few = None if real is None else real.few
    error = compare(source_check(after, MODEL, WEIGHTS), graph, weights, folder, real=few)
    shape = tuple(int(side) for side in graph.input_shape)
    before_ms = latency_ms(loaded(graph, weights), shape, device="cpu")
    after_ms = latency_ms(loaded(after, tensors), shape, device="cpu")
    norms = sum(isinstance(node.primitive, BatchNorm2d) for node in graph.nodes)
    return {
        "Folded": f"{MODEL} with {WEIGHTS}, {count} of {norms} batch norms folded into "
        f"convolutions: {after_ms:.3g} ms instead of {before_ms:.3g} ms for one image (this "
        f"machine's CPU, one thread); its outputs differ from the trained network's by "
        f"{error:.1e} of the largest one"
    }
