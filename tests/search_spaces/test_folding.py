"""Batch norms folded into convolutions: equal outputs, and nothing folded that must not be."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces import SEARCH_SPACES
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.folding import folded, folded_norms, folded_state
from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec, GraphBuilder, ScopeBuilder, Value
from search_spaces.modules import build
from search_spaces.primitives import Add, BatchNorm2d, Conv2d
from search_spaces.reference import REFERENCES
from search_spaces.source import model_source

Liven = Callable[[nn.Module], nn.Module]
SPACES = [name for name in SEARCH_SPACES if name != "scaling"]


def outputs(graph: Graph, model: nn.Module) -> Tensor:
    images = torch.randn(2, *graph.input_shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        result: Tensor = model.eval()(images)
    return result


def difference(graph: Graph, liven: Liven) -> float:
    """Of the folded network's outputs, relative to the largest one."""
    model = liven(build(graph)).double()
    after = folded(graph)
    state = folded_state(graph, {key: value.numpy() for key, value in model.state_dict().items()})
    other = build(after).double()
    other.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    torch.set_default_dtype(torch.float64)
    try:
        one, two = outputs(graph, model), outputs(graph, other)
    finally:
        torch.set_default_dtype(torch.float32)
    return float((one - two).abs().max() / one.abs().max().clamp(min=1e-12))


@settings(max_examples=15)
@given(data=st.data())
def test_random_networks_have_equal_outputs(
    data: st.DataObject, networks: st.SearchStrategy[Graph], liven: Liven
) -> None:
    graph = data.draw(networks)
    assert difference(graph, liven) <= 1e-9
    assert folded_norms(folded(graph)) == {}


@pytest.mark.parametrize("name", SPACES)
def test_children_of_every_space_have_equal_outputs(name: str, liven: Liven) -> None:
    module, _, cls = SEARCH_SPACES[name].partition(":")
    space: Any = getattr(import_module(module), cls)((1, 8, 8), 3)
    rng = np.random.default_rng(0)
    for _ in range(2):
        graph = lower(space.architecture(space.genome.sample_options(rng)))
        assert folded_norms(graph)
        assert difference(graph, liven) <= 1e-9


def test_a_network_keeps_its_names_and_its_convolutions_get_biases(liven: Liven) -> None:
    stages = ((ConvNormAct(6),),)
    graph = lower(Architecture("Net", (1, 8, 8), ConvNormAct(4), stages, Classifier(2)))
    after = folded(graph)
    assert not any(isinstance(node.primitive, BatchNorm2d) for node in after.nodes)
    kept = [n.name for n in graph.nodes if not isinstance(n.primitive, BatchNorm2d)]
    assert [node.name for node in after.nodes] == kept
    convs = [node.primitive for node in after.nodes if isinstance(node.primitive, Conv2d)]
    assert all(conv.bias for conv in convs)
    assert after.macs == graph.macs
    assert after.params == graph.params - 4 - 6  # a scale and a shift become one bias
    assert "BatchNorm2d" not in model_source(after)


def test_every_fold_of_published_networks_is_there() -> None:
    for name, norms, folds in (("resnet50", 53, 53), ("densenet121", 121, 59), ("vgg11", 0, 0)):
        graph = lower(REFERENCES[name]())
        assert sum(isinstance(node.primitive, BatchNorm2d) for node in graph.nodes) == norms
        assert len(folded_norms(graph)) == folds


class Biased(BlockSpec):
    """A convolution with a bias, and a batch norm of its own epsilon."""

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        x = scope.add("conv", Conv2d(4, 3, groups=1, bias=True), inputs[-1])
        return scope.norm("norm", x, eps=0.5)


def test_a_bias_and_an_epsilon_are_taken_in(liven: Liven) -> None:
    graph = lower(Architecture("Net", (2, 8, 8), Biased(), ((ConvNormAct(4),),), Classifier(2)))
    assert len(folded_norms(graph)) == 2
    assert difference(graph, liven) <= 1e-12


class Tangled(BlockSpec):
    """Both convolutions before both batch norms: each must stand where its norm stood."""

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        one = scope.add("first", Conv2d(4, 3, padding=1), inputs[-1])
        two = scope.add("second", Conv2d(4, 1), inputs[-1])
        three = scope.activation("act", scope.norm("first_norm", one), "relu")
        last = scope.add("third", Conv2d(4, 1), three)
        both = scope.add("sum", Add(), last, three)
        return scope.add("out", Add(), both, scope.norm("second_norm", two))


def test_order_does_not_matter(liven: Liven) -> None:
    graph = lower(Architecture("Net", (2, 8, 8), Tangled(), ((ConvNormAct(4),),), Classifier(2)))
    assert len(folded_norms(graph)) == 3
    assert difference(graph, liven) <= 1e-12


def test_what_others_read_stays() -> None:
    builder = GraphBuilder((2, 8, 8), title="Net")
    conv = builder.root.add("conv", Conv2d(4), builder.image)
    total = builder.root.add("sum", Add(), builder.root.norm("norm", conv), conv)
    graph = builder.graph(total)
    assert folded_norms(graph) == {}
    assert folded(graph) == graph
