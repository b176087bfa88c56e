"""The depthwise separable convolution: the cost formula, its parts and its order."""

import pytest

from search_spaces.blocks import DepthwiseSeparable
from search_spaces.graph import Graph
from search_spaces.lowering import GraphBuilder


def network(spec: DepthwiseSeparable, channels: int, side: int) -> Graph:
    builder = GraphBuilder((channels, side, side), title="Network")
    return builder.graph(builder.root.block("block", spec, builder.image))


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (32, 64), (512, 512), (9, 5)])
@pytest.mark.parametrize("side", [4, 14, 56])
def test_the_cost_is_that_of_the_formula(kernel: int, inputs: int, outputs: int, side: int) -> None:
    """MACs of arXiv:1704.04861, equation (5)."""
    graph = network(DepthwiseSeparable(outputs, kernel), inputs, side)
    assert graph.macs == kernel**2 * inputs * side**2 + inputs * outputs * side**2
    assert graph.params == kernel**2 * inputs + inputs * outputs + 2 * (inputs + outputs)


def test_it_saves_one_over_width_plus_one_over_kernel_squared() -> None:
    """The quotient to a full convolution: 1/N + 1/K^2, ibidem."""
    graph = network(DepthwiseSeparable(64), 32, 14)
    full = 3**2 * 32 * 64 * 14**2
    assert graph.macs / full == pytest.approx(1 / 64 + 1 / 9)


def test_a_stride_makes_the_output_map_the_one_that_counts() -> None:
    graph = network(DepthwiseSeparable(8, 3, stride=2), 4, 9)
    assert graph.output_shape == (8, 5, 5)
    assert graph.macs == 3**2 * 4 * 5**2 + 4 * 8 * 5**2


def test_norm_and_activation_follow_each_convolution() -> None:
    graph = network(DepthwiseSeparable(8, squeeze_ratio=0.5), 4, 9)
    assert [node.name.partition(".")[2] for node in graph.nodes[1:]] == [
        *("depthwise_conv", "depthwise_norm", "depthwise_act"),
        *(
            f"squeeze_excite.{part}"
            for part in ("pool", "reduce", "act", "expand", "gate", "scale")
        ),
        *("pointwise_conv", "pointwise_norm", "pointwise_act"),
    ]


def test_dilation_widens_the_window_for_nothing() -> None:
    near = network(DepthwiseSeparable(8, 3), 4, 9)
    far = network(DepthwiseSeparable(8, 3, dilation=3), 4, 9)
    assert (near.params, near.macs, near.output_shape) == (far.params, far.macs, far.output_shape)
    assert far.scopes[1].title == "DilatedSeparable"
