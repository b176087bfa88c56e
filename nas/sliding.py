"""An exported network turned into one that slides over larger images, weights and all."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from nas.errors import usage_error
from nas.export import Winner
from nas.fresh_process import TOLERANCE, loaded
from nas.loading import build_meta
from search_spaces.fully_convolutional import fully_convolutional, is_global_inside
from search_spaces.graph import Graph


def slide(winner: Winner) -> Winner:
    """The same network, fully convolutional: see ``search_spaces.fully_convolutional``.

    Its architecture is left out, as no block of it stands for the converted graph.

    Raises:
        NasError: If the network cannot be converted (exit code 2).
        RuntimeError: If its outputs differ at the training size, which is a defect of ours.
    """
    try:
        graph = fully_convolutional(winner.graph)
    except ValueError as error:
        raise usage_error(f"--fully-convolutional: {error}") from error
    weights = None
    if winner.weights is not None:
        weights = _reshaped(winner.weights, graph)
        _compare(winner.graph, winner.weights, graph, weights)
    size = "{} x {}".format(*(int(side) for side in graph.input_shape[1:]))
    scores = "; scores differ from those of a window moved over the image, as squeeze-excite "
    note = f"{scores}or the like sees all of the image" if is_global_inside(graph) else ""
    figures = {
        **(winner.figures if winner.figures is not None else {}),
        "Fully convolutional": f"the same scores for {size} images, as a map of one pixel; a map "
        f"of scores for larger images; smaller ones do not fit{note}",
    }
    return replace(winner, graph=graph, architecture=None, weights=weights, figures=figures)


def _reshaped(weights: Mapping[str, Tensor], graph: Graph) -> dict[str, Tensor]:
    shapes = {name: value.shape for name, value in build_meta(graph).state_dict().items()}
    return {name: value.reshape(shapes[name]) for name, value in weights.items()}


def _compare(
    before: Graph, weights: Mapping[str, Tensor], after: Graph, reshaped: Mapping[str, Tensor]
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((2, *before.input_shape), generator=generator)
    with torch.inference_mode():
        one = loaded(before, weights)(images)
        other = loaded(after, reshaped)(images).flatten(1)
    error = float((one - other).abs().max())
    if not error <= TOLERANCE * float(one.abs().max()):
        raise RuntimeError(f"the fully convolutional network differs by {error}")
