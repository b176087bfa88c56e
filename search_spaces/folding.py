"""Batch norms folded into the convolutions before them: fewer layers, the same outputs.

In eval mode a batch norm multiplies and shifts each channel by constants, and so does a
convolution with scaled weights and a bias.

Source: RepVGG (arXiv:2101.03697), section 3.3, equation 3.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces import graph_json
from search_spaces.graph import Graph
from search_spaces.primitives import BatchNorm2d, Conv2d

State = Mapping[str, NDArray[Any]]


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
    document = graph_json.to_document(graph)
    entries = document["nodes"]
    names = {entries[norm]["name"]: entries[conv]["name"] for norm, conv in pairs.items()}
    moved = {norm: {**entries[conv], "bias": True} for norm, conv in pairs.items()}
    gone = set(pairs.values())
    document["nodes"] = [
        moved.get(place, entry) for place, entry in enumerate(entries) if place not in gone
    ]
    for entry in (*document["nodes"], *document["scopes"]):
        entry["inputs"] = [names.get(name, name) for name in entry["inputs"]]
    return graph_json.from_document(document)


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
        for part in [key for key in result if key.startswith(f"{node.name}.")]:
            del result[part]
    return result
