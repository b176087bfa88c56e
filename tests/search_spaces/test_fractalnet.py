"""Fractal blocks: the expansion rule, the published networks, and the columns inside."""

from collections.abc import Callable
from functools import reduce
from itertools import count

import networkx as nx
import pytest
import torch
from torch import Tensor, nn

from search_spaces import graph_json
from search_spaces.architecture import Architecture, from_document, lower, to_document
from search_spaces.blocks import Classifier, ConvNormAct, FractalBlock, FractalColumn
from search_spaces.columns import column, columns
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.modules import build, choose_paths
from search_spaces.paths import Paths
from search_spaces.primitives import Conv2d, MaxPool2d, Mean
from search_spaces.reference import REFERENCES
from search_spaces.source import model_source
from search_spaces.strict_json import dumps, loads

Liven = Callable[[nn.Module], nn.Module]
ModelFromSource = Callable[[str], nn.Module]


def network(*blocks: FractalBlock | FractalColumn, side: int = 9) -> Architecture:
    stages = tuple((block,) for block in blocks)
    return Architecture("Net", (2, side, side + 2), ConvNormAct(3), stages, Classifier(5))


def convolutions(graph: Graph) -> list[int]:
    """Weights of each convolution."""
    return [node.cost.params for node in graph.nodes if isinstance(node.primitive, Conv2d)]


def depth(graph: Graph) -> int:
    """Most convolutions on one way through the network."""
    digraph = graph.digraph()
    for _, reader, attributes in digraph.edges(data=True):
        attributes["length"] = int(isinstance(graph.nodes[reader].primitive, Conv2d))
    return int(nx.dag_longest_path_length(nx.DiGraph(digraph), weight="length"))


# The expansion rule --------------------------------------------------------------------------


def expanded(block: nn.Module, columns: int, x: Tensor, *, nested: bool = False) -> Tensor:
    """The output of a block by the recursive rule: each call yields all that ends there.

    With ``nested`` it averages two values at a time, as joins of two columns each would.
    """
    places = [count() for _ in range(columns)]

    def conv(number: int, value: Tensor) -> Tensor:
        layer = block.get_submodule(f"conv{number}_{next(places[number])}")
        result: Tensor = layer(value)
        return result

    def rule(order: int, value: Tensor) -> list[Tensor]:
        beside = [conv(columns - order, value)]
        if order == 1:
            return beside
        return beside + rule(order - 1, mean(rule(order - 1, value)))

    ends = [block.get_submodule(f"pool{place}")(end) for place, end in enumerate(rule(columns, x))]
    return reduce(lambda deep, end: mean([end, deep]), ends[::-1]) if nested else mean(ends)


def mean(values: list[Tensor]) -> Tensor:
    return reduce(torch.add, values) / len(values)


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_a_block_computes_what_the_expansion_rule_says(columns: int, liven: Liven) -> None:
    graph = lower(network(FractalBlock(4, columns)))
    model = liven(build(graph))
    images = torch.randn(2, *graph.input_shape)
    with torch.no_grad():
        x = model.get_submodule("stem")(images)
        block = model.get_submodule("stages.0.0")
        assert torch.equal(block(x), expanded(block, columns, x))
    assert len(convolutions(graph)) == 1 + 2**columns - 1
    assert depth(graph) == 1 + 2 ** (columns - 1)


def test_all_columns_that_end_at_a_place_meet_in_one_mean() -> None:
    graph = lower(network(FractalBlock(4, 4)))
    means = [len(node.inputs) for node in graph.nodes if isinstance(node.primitive, Mean)]
    assert means == [2, 3, 2, 4]
    assert not any(
        isinstance(graph.nodes[source].primitive, Mean)
        for node in graph.nodes
        if isinstance(node.primitive, Mean)
        for source in node.inputs
    )


def test_means_of_means_would_be_found_by_that_comparison(liven: Liven) -> None:
    graph = lower(network(FractalBlock(4, 3)))
    block = liven(build(graph)).get_submodule("stages.0.0")
    x = torch.randn(2, 3, 9, 11)
    with torch.no_grad():
        nested = expanded(block, 3, x, nested=True)
        assert not torch.allclose(block(x), nested, atol=1e-2)


@pytest.mark.parametrize(("pool", "sides"), [(1, (9, 11)), (2, (5, 6)), (3, (3, 4))])
def test_each_column_is_pooled_before_the_last_mean(pool: int, sides: tuple[int, int]) -> None:
    graph = lower(network(FractalBlock(4, 3, pool=pool)))
    pools = [node for node in graph.nodes if isinstance(node.primitive, MaxPool2d)]
    assert len(pools) == (3 if pool > 1 else 0)
    last = [node for node in graph.nodes if isinstance(node.primitive, Mean)][-1]
    assert last.shape == (4, *sides)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FractalBlock(4, 0), "columns must be from 1 to 8, got 0"),
        (lambda: FractalBlock(4, 9), "columns must be from 1 to 8, got 9"),
        (lambda: FractalBlock(4, pool=0), "pool must be at least 1, got 0"),
        (lambda: FractalColumn(4, -1), "column must be from 0 to 7, got -1"),
        (lambda: FractalColumn(4, 8), "column must be from 0 to 7, got 8"),
        (lambda: FractalColumn(4, 1, pool=0), "pool must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_built_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# The published networks ------------------------------------------------------------------------


@pytest.mark.parametrize(
    # Weights of the convolutions: the authors' generator, gustavla/fractalnet, at 3 and 4 columns.
    ("name", "weights", "layers"),
    [("fractalnet_20", 33_698_880, 20), ("fractalnet_40", 76_057_344, 40)],
)
def test_the_published_networks_have_the_weights_of_the_authors_generator(
    name: str, weights: int, layers: int
) -> None:
    graph = lower(REFERENCES[name]())
    assert sum(convolutions(graph)) == weights
    assert depth(graph) == layers
    assert graph.input_shape == (3, 32, 32)
    assert graph.output_shape == (10,)


def test_fractalnet_20_has_the_published_parameters_with_norms_and_a_layer_of_ten_classes() -> None:
    assert lower(REFERENCES["fractalnet_20"]()).params == 33_724_618


@pytest.mark.parametrize("name", ["fractalnet_20", "fractalnet_40"])
def test_the_source_is_two_classes_and_the_network(
    name: str, classes_in_source: Callable[[str], list[str]]
) -> None:
    source = model_source(lower(REFERENCES[name]()))
    block = f"FractalBlock{columns(REFERENCES[name]())}"
    assert classes_in_source(source) == ["ConvNormAct", block, "FractalNet"]
    assert max(len(line) for line in source.splitlines()) <= 88


@pytest.mark.parametrize("name", ["fractalnet_20", "fractalnet_40"])
def test_documents_of_the_published_networks_read_back(name: str) -> None:
    architecture = REFERENCES[name]()
    assert from_document(loads(dumps(to_document(architecture)))) == architecture
    graph = lower(architecture)
    assert graph_json.from_document(loads(dumps(graph_json.to_document(graph)))) == graph


# The columns inside ----------------------------------------------------------------------------

MIXED = (FractalBlock(4, 4), FractalBlock(6, 1, pool=1), FractalBlock(6, 2), FractalBlock(5, 3))


def with_fixed_norms(model: nn.Module) -> nn.Module:
    """In training mode, but for the batch norms, which keep to their statistics."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("blocks", [MIXED, (FractalBlock(4, 4),) * 2], ids=["mixed", "alike"])
def test_a_column_alone_computes_what_the_network_does_on_its_path(
    blocks: tuple[FractalBlock, ...], number: int, liven: Liven, model_from_source: ModelFromSource
) -> None:
    architecture = network(*blocks, side=16)
    graph = lower(architecture)
    model = liven(build(graph))
    alone = lower(column(architecture, number))
    images = torch.randn(3, *graph.input_shape)
    weights = model.state_dict()
    choose_paths(with_fixed_norms(model), Paths(graph).column(number))
    with torch.no_grad():
        expected = model(images)
        for plain in (build(alone), model_from_source(model_source(alone))):
            plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
            assert torch.equal(plain.eval()(images), expected)
    assert not any(isinstance(node.primitive, Mean) for node in alone.nodes)
    deepest = [min(number, block.columns - 1) for block in blocks]
    assert depth(alone) == 1 + sum(2**place for place in deepest)


def test_columns_differ_from_each_other_and_from_the_whole(liven: Liven) -> None:
    architecture = network(*MIXED, side=16)
    graph = lower(architecture)
    model = with_fixed_norms(liven(build(graph)))
    images = torch.randn(3, *graph.input_shape)
    outputs = []
    with torch.no_grad():
        for choice in (None, *(Paths(graph).column(number) for number in range(4))):
            choose_paths(model, choice)
            outputs.append(model(images))
    assert len({tuple(output.flatten().tolist()) for output in outputs}) == 5


def test_the_number_of_columns_is_that_of_the_widest_block() -> None:
    assert columns(network(*MIXED, side=16)) == 4 == Paths(lower(network(*MIXED, side=16))).columns
    assert columns(Architecture("Net", (1, 8, 8), *_plain())) == 0


def test_a_block_of_one_column_is_that_column() -> None:
    one = lower(network(FractalBlock(4, 1)))
    assert digest(one) == digest(lower(network(FractalColumn(4, 0))))


def test_a_column_of_a_column_is_refused() -> None:
    architecture = network(FractalBlock(4, 3))
    with pytest.raises(ValueError, match="number must be a column from 0 to 2, got 3"):
        column(architecture, 3)
    with pytest.raises(ValueError, match="the network must have a fractal block"):
        column(column(architecture, 0), 0)


def _plain() -> tuple[ConvNormAct, tuple[tuple[ConvNormAct, ...], ...], Classifier]:
    return ConvNormAct(4), ((ConvNormAct(4),),), Classifier(2)
