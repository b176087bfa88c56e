"""A network in the form that is fastest to run, for scoring alone."""

from collections import Counter

import torch
from torch import Tensor, nn

from estimators.shared_layers import GivenConv
from search_spaces.folding import folded, folded_state
from search_spaces.graph import Graph, Node
from search_spaces.modules import build, layer_of
from search_spaces.primitives import Activation, BatchNorm2d, Conv2d


def for_inference(model: nn.Module, graph: Graph, *, device: str) -> nn.Module:
    """A network that computes what ``model`` does in eval mode, up to the last digits.

    Batch norms are folded into convolutions, whose weights lie channels-last, and activations
    write over what they read, where nothing else reads it. Other layers are those of ``model``,
    which stays as it is; train neither of them while the other is in use.

    Args:
        model: What ``build(graph)`` returned, in eval mode, with float32 weights.
        graph: Of the network before folding.
        device: Where ``model`` is.
    """
    layers = dict(model.named_modules())
    tensors = model.state_dict()
    state = folded_state(graph, {name: one.cpu().numpy() for name, one in tensors.items()})
    after = folded(graph)
    overwriting = _overwriting(after)

    def given(name: str) -> Tensor:
        return torch.from_numpy(state[name]).to(device)

    def layer(node: Node) -> nn.Module | None:
        if node.name in overwriting:
            activation = layer_of(node)
            activation.inplace = True  # type: ignore[union-attr]
            return activation
        if not isinstance(node.primitive, Conv2d):
            return layers.get(node.name)
        weight = given(f"{node.name}.weight").contiguous(memory_format=torch.channels_last)
        bias = nn.Parameter(given(f"{node.name}.bias")) if node.primitive.bias else None
        return GivenConv(nn.Parameter(weight), bias, node.primitive)

    return build(after, layer).eval()


def _overwriting(graph: Graph) -> set[str]:
    """Names of the activations that alone read what a convolution or a batch norm has made."""
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    return {
        node.name
        for node in graph.nodes
        if isinstance(node.primitive, Activation)
        and readers[node.inputs[0]] == 1
        and isinstance(graph.nodes[node.inputs[0]].primitive, Conv2d | BatchNorm2d)
    }
