"""Layers of networks that are trained: where they are ours, and that they compute the same."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from estimators.depthwise import DepthwiseConv2d
from estimators.pooling import GlobalPool
from estimators.shared_layers import assemble
from estimators.trained_layers import trained_layer
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.graph import Node
from search_spaces.modules import build, layer_of
from search_spaces.primitives import (
    FREE,
    AdaptiveAvgPool2d,
    Conv2d,
    GlobalAvgPool2d,
    MaxPool2d,
    Primitive,
)


@pytest.mark.parametrize(
    ("primitive", "channels", "kind"),
    [
        (Conv2d(8, 5, 2, 2, 1, 8), 8, DepthwiseConv2d),
        (Conv2d(8, 3, 1, 2, 2, 8, bias=True), 8, DepthwiseConv2d),
        (Conv2d(16, 3, 1, 1, 1, 8), 8, nn.Conv2d),  # two filters for each channel
        (Conv2d(8, 3, 1, 1, 1, 4), 8, nn.Conv2d),
        (Conv2d(1, 3, 1, 1), 1, nn.Conv2d),
        (GlobalAvgPool2d(), 8, GlobalPool),
        (AdaptiveAvgPool2d(2), 8, nn.AdaptiveAvgPool2d),
        (MaxPool2d(3, 2, 1), 8, nn.MaxPool2d),
    ],
    ids=str,
)
def test_layers_have_the_same_names_initial_values_and_outputs(
    primitive: Primitive, channels: int, kind: type[nn.Module]
) -> None:
    shape = (channels, 9, 9)
    node = Node("layer", "", primitive, (0,), (shape,), primitive.infer(shape), FREE)
    torch.manual_seed(0)
    ours = trained_layer(node)
    torch.manual_seed(0)
    torchs = layer_of(node)
    assert ours is not None
    assert torchs is not None
    assert type(ours) is kind
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    x = torch.randn(2, *shape)
    assert torch.equal(ours(x), torchs(x))


def test_children_of_a_supernet_have_the_same_layers() -> None:
    block = MBConv(4, expansion=2, squeeze_ratio=0.5, kernel_size=5)
    graph = lower(Architecture("Child", (1, 6, 6), ConvNormAct(4), ((block,),), Classifier(2)))
    model = build(graph, trained_layer).to(memory_format=torch.channels_last)
    x = torch.randn(3, 1, 6, 6).to(memory_format=torch.channels_last)
    names = []
    for network in (model, assemble(graph, dict(model.named_parameters()))):
        y = network(x)
        assert torch.equal(y, model(x))
        names.append(Counter(names_of(y.grad_fn)))
    assert names[0] == names[1]
    assert names[0]["_MeanBackward"] > 0
    assert names[0]["_DepthwiseBackward"] == 1


def names_of(node: Any) -> Iterator[str]:
    """Names of all functions of a gradient, each once."""
    found, left = {node}, [node]
    while left:
        for one, _ in left.pop().next_functions:
            if one is not None and one not in found:
                found.add(one)
                left.append(one)
    return (one.name() for one in found)
