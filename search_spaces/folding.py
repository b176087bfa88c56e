"""Batch norms folded into the convolutions before them: fewer layers, the same outputs.

In eval mode a batch norm multiplies and shifts each channel by constants, and so does a
convolution with scaled weights and a bias.

Source: RepVGG (arXiv:2101.03697), section 3.3, equation 3.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph import Graph, Node
from search_spaces.primitives import BatchNorm2d, Conv2d

State = Mapping[str, NDArray[Any]]

_NORM_STATE = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def folded_norms(graph: Graph) -> dict[int, int]:
    """Positions of the batch norms that can be folded, each with that of its convolution.

    They are those that stand in the same block as a convolution whose output nothing else reads.
    One before its convolution, as in DenseNet, reads a sum or a concatenation and stays.
    """
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    pairs = {}
    for place, node in enumerate(graph.nodes):
        if isinstance(node.primitive, BatchNorm2d):
            (source,) = node.inputs
            conv = graph.nodes[source]
            if (
                isinstance(conv.primitive, Conv2d)
                and readers[source] == 1
                and conv.scope == node.scope
            ):
                pairs[place] = source
    return pairs


def folded(graph: Graph) -> Graph:
    """The graph without those batch norms; their convolutions have a bias.

    A convolution takes the place of its batch norm and keeps its own name.
    """
    pairs = folded_norms(graph)
    gone = set(pairs.values())
    kept = [place for place in range(len(graph.nodes)) if place not in gone]
    moved = {place: number for number, place in enumerate(kept)}
    moved |= {conv: moved[norm] for norm, conv in pairs.items()}

    def reads(inputs: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(moved[source] for source in inputs)

    nodes = []
    for place in kept:
        node = graph.nodes[pairs.get(place, place)]
        if place in pairs:
            node = _biased(node)
        nodes.append(replace(node, inputs=reads(node.inputs)))
    scopes = tuple(replace(scope, inputs=reads(scope.inputs)) for scope in graph.scopes)
    return Graph(tuple(nodes), scopes)


def _biased(node: Node) -> Node:
    """A convolution with a bias."""
    assert isinstance(node.primitive, Conv2d)  # noqa: S101 - for the type checker
    primitive = replace(node.primitive, bias=True)
    return replace(node, primitive=primitive, cost=primitive.cost(node.input_shapes, node.shape))


def folded_state(graph: Graph, state: State) -> dict[str, NDArray[Any]]:
    """The state of ``folded(graph)``, computed in float64.

    Args:
        graph: The network before.
        state: Its state dict: arrays by the names of ``modules.build``.

    Returns:
        New weights and biases of the convolutions, of the type that the weights had, and all
        else as it was, without the batch norms.
    """
    result = dict(state)
    for norm, conv in folded_norms(graph).items():
        node, name = graph.nodes[norm], graph.nodes[conv].name
        assert isinstance(node.primitive, BatchNorm2d)  # noqa: S101 - for the type checker
        weight = state[f"{name}.weight"]
        gamma, beta, mean, variance = (
            state[f"{node.name}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + node.primitive.eps)  # Eq. (3)
        before = state.get(f"{name}.bias", np.zeros(len(weight)))
        bias = beta + (before.astype(np.float64) - mean) * scale
        scaled = weight.astype(np.float64) * scale[:, None, None, None]
        result[f"{name}.weight"] = scaled.astype(weight.dtype)
        result[f"{name}.bias"] = bias.astype(weight.dtype)
        for part in _NORM_STATE:
            result.pop(f"{node.name}.{part}", None)
    return result
