"""Dense layers and transitions."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from search_spaces.blocks import DenseLayer, Transition
from search_spaces.graph import Graph
from search_spaces.lowering import GraphBuilder, chain
from search_spaces.modules import build
from search_spaces.primitives import Conv2d

Alone = Callable[..., Graph]
Liven = Callable[[nn.Module], nn.Module]


def test_a_layer_appends_growth_channels_and_keeps_the_others(alone: Alone, liven: Liven) -> None:
    graph = alone(DenseLayer(5))
    assert graph.output_shape == (11, 8, 8)
    images = torch.randn(2, 6, 8, 8)
    assert torch.equal(liven(build(graph))(images)[:, :6], images)


@pytest.mark.parametrize(("bottleneck", "widths"), [(4, [20, 5]), (2, [10, 5]), (0, [5])])
def test_a_bottleneck_is_a_multiple_of_the_growth(
    bottleneck: int, widths: list[int], alone: Alone
) -> None:
    convs = [
        node.primitive
        for node in alone(DenseLayer(5, bottleneck)).nodes
        if isinstance(node.primitive, Conv2d)
    ]
    assert [conv.out_channels for conv in convs] == widths
    assert [conv.kernel_size for conv in convs] == [1, 3][-len(widths) :]


def test_layers_in_a_row_read_all_before_them() -> None:
    builder = GraphBuilder((6, 8, 8), title="Network")
    layers = chain((DenseLayer(4), DenseLayer(4), DenseLayer(4)))
    graph = builder.graph(builder.root.sequence("layers", layers, builder.image))
    assert graph.output_shape == (18, 8, 8)
    reads = [node.input_shapes[0][0] for node in graph.nodes if node.name.endswith(".reduce_norm")]
    assert reads == [6, 10, 14]


def test_a_layer_is_pre_activated_and_what_it_adds_is_dropped_and_squeezed(alone: Alone) -> None:
    graph = alone(DenseLayer(8, dropout=0.2, squeeze_ratio=0.25, squeeze_of="scaled"))
    parts = [node.name.removeprefix("block.") for node in graph.nodes[1:]]
    assert parts[:3] == ["reduce_norm", "reduce_act", "reduce_conv"]
    assert parts[3:7] == ["grow_norm", "grow_act", "grow_conv", "dropout"]
    assert parts[-2:] == ["squeeze_excite.scale", "concat"]
    squeezed = {node.name: node.shape[0] for node in graph.nodes}["block.squeeze_excite.reduce"]
    assert squeezed == 2


@pytest.mark.parametrize(("compression", "width"), [(1.0, 7), (0.5, 3), (0.3, 2), (0.01, 1)])
def test_a_transition_keeps_a_share_of_the_channels_rounded_down(
    compression: float, width: int, alone: Alone
) -> None:
    assert alone(Transition(compression), channels=7).output_shape == (width, 4, 4)


def test_a_transition_halves_odd_sides_downwards_or_not_at_all(alone: Alone) -> None:
    assert alone(Transition(), side=7).output_shape == (3, 3, 3)
    assert alone(Transition(stride=1), side=7).output_shape == (3, 7, 7)
    parts = [node.name for node in alone(Transition(dropout=0.1)).nodes[1:]]
    assert [part.removeprefix("block.") for part in parts] == [
        *("norm", "act", "conv", "dropout", "pool")
    ]


def test_a_transition_may_end_at_a_width(alone: Alone) -> None:
    assert alone(Transition(1.0, 1, width=5), channels=7, side=4).output_shape == (5, 4, 4)
    assert alone(Transition(1.0, 1, width=9), channels=7, side=4).output_shape == (9, 4, 4)
    with pytest.raises(ValueError, match=r"compression must be 1 with a width, got 0\.5"):
        Transition(width=5)
    with pytest.raises(ValueError, match="width must be at least 0, got -1"):
        Transition(1.0, width=-1)
