"""Identity and zero."""

import pytest
import torch

from search_spaces.blocks import BLOCKS, ConvNormAct, Skip, Zero
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.lowering import BlockSpec, GraphBuilder
from search_spaces.modules import build
from search_spaces.primitives import Add
from search_spaces.source import model_source


def network(*specs: BlockSpec) -> Graph:
    builder = GraphBuilder((4, 7, 6), title="Network")
    x = builder.image
    for place, spec in enumerate(specs):
        x = builder.root.block(f"block{place}", spec, x)
    return builder.graph(x)


def test_a_skip_is_the_input_itself_and_no_layer_to_the_digest() -> None:
    images = torch.randn(2, 4, 7, 6)
    assert torch.equal(build(network(Skip()))(images), images)
    assert torch.equal(build(network(Skip(width=4)))(images), images)
    assert digest(network(Skip(), ConvNormAct(5))) == digest(network(ConvNormAct(5)))


def test_a_skip_to_another_shape_is_a_projection() -> None:
    graph = network(Skip(6, 2))
    assert graph.output_shape == (6, 4, 3)
    assert [node.primitive.op for node in graph.nodes[1:]] == ["conv2d", "batch_norm2d"]
    assert network(Skip(stride=2)).output_shape == (4, 4, 3)
    with pytest.raises(ValueError, match="width must be at least 0, got -1"):
        Skip(-1)


@pytest.mark.parametrize("stride", [1, 2])
def test_zero_is_zeros_of_the_strided_shape_and_costs_nothing(stride: int) -> None:
    graph = network(ConvNormAct(5), Zero(stride))
    images = torch.randn(2, 4, 7, 6)
    output = build(graph)(images)
    assert tuple(output.shape[1:]) == graph.output_shape == (5, -(-7 // stride), -(-6 // stride))
    assert not output.any()
    assert (graph.params, graph.macs) == (network(ConvNormAct(5)).params, 4 * 5 * 9 * 42)


def test_zero_is_not_taken_for_the_identity() -> None:
    assert digest(network(ConvNormAct(5), Zero())) != digest(network(ConvNormAct(5)))


def test_weights_before_a_zero_have_gradients_all_zero() -> None:
    model = build(network(ConvNormAct(5), Zero()))
    model(torch.randn(2, 4, 7, 6)).sum().backward()
    assert all(not values.grad.any() for values in model.parameters() if values.grad is not None)
    assert all(values.grad is not None for values in model.parameters())


def test_a_sum_times_zero_is_bracketed_in_the_source() -> None:
    builder = GraphBuilder((4, 7, 6), title="Network")
    root = builder.root
    y = root.activation("act", builder.image, "relu")
    x = root.add("sum", Add(), builder.image, y)
    source = model_source(builder.graph(root.block("zero", Zero(), x)))
    assert "x * 0" in source
    assert "+ y * 0" not in source
    assert {"Skip", "Zero"} <= set(BLOCKS)
