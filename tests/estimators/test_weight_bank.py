"""Shared weights: every child is a plain network, and children share what they should."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from estimators.shared_layers import assemble
from estimators.weight_bank import SHARINGS, WeightBank
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import (
    Classifier,
    ConvNormAct,
    DenseLayer,
    Inception,
    MBConv,
    Stem,
    Transition,
)
from search_spaces.cell import CellSpace
from search_spaces.dense import DenseSpace
from search_spaces.fractal import FractalSpace
from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec
from search_spaces.mbconv import MBConvSpace
from search_spaces.mixed import MixedSpace
from search_spaces.modules import build, choose_paths
from search_spaces.paths import Paths
from search_spaces.residual import ResidualSpace
from search_spaces.space import SearchSpace

SPACES = [MBConvSpace, ResidualSpace, DenseSpace, FractalSpace, MixedSpace, CellSpace]
ERROR = 1e-5  # of the largest logit


def network(*blocks: BlockSpec, stem: int = 16) -> Graph:
    first = Stem(stem, 3, 1, pool=False)
    return lower(Architecture("Net", (1, 8, 8), first, (blocks,), Classifier(10)))


def children(space: type[SearchSpace], count: int) -> list[Graph]:
    made, rng = space((1, 8, 8), 10), np.random.default_rng(0)
    return [lower(made.architecture(made.genome.sample_options(rng))) for _ in range(count)]


def shared(bank: WeightBank, graph: Graph) -> nn.Module:
    taken = {name: nn.Parameter(bank.take(slot)) for name, slot in bank.slots(graph).items()}
    return assemble(graph, taken)


def plain(bank: WeightBank, graph: Graph) -> nn.Module:
    model = build(graph)
    model.load_state_dict(bank.state_dict(graph), strict=True)
    return model


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    for module in model.train().modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        result: Tensor = model(images)
    return result


def scatter(bank: WeightBank) -> None:
    """Give scales, shifts and biases values that tell channels from each other."""
    generator = torch.Generator().manual_seed(1)
    for key in bank.documents()[0]["slots"]:
        tensor = bank.tensor(key)
        if tensor.ndim == 1:
            tensor.copy_(torch.empty(tensor.shape).uniform_(0.5, 1.5, generator=generator))


def error(bank: WeightBank, graph: Graph) -> float:
    """Of the child from the bank against the plain network with the weights taken out."""
    images = torch.randn(4, *graph.input_shape, generator=torch.Generator().manual_seed(0))
    expected = outputs(plain(bank, graph), images)
    assert float(expected.std()) > 1e-3
    difference = (outputs(shared(bank, graph), images) - expected).abs().max()
    return float(difference / expected.abs().max())


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("space", [MBConvSpace, DenseSpace, MixedSpace])
def test_a_child_is_the_plain_network_with_its_weights(
    space: type[SearchSpace], sharing: str
) -> None:
    bank = WeightBank(sharing=sharing)
    graphs = children(space, 3)
    for graph in graphs:
        bank.reserve(bank.slots(graph).values())
    scatter(bank)
    assert max(error(bank, graph) for graph in graphs) <= ERROR


@pytest.mark.slow
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("space", SPACES)
def test_random_children_are_plain_networks(space: type[SearchSpace], sharing: str) -> None:
    bank = WeightBank(sharing=sharing)
    graphs = children(space, 5 if space is CellSpace else 30)
    for graph in graphs:
        bank.reserve(bank.slots(graph).values())
    scatter(bank)
    assert max(error(bank, graph) for graph in graphs) <= ERROR


def test_paths_are_chosen_in_a_child_as_in_the_plain_network() -> None:
    bank = WeightBank(sharing="separate")
    graph = children(FractalSpace, 1)[0]
    bank.reserve(bank.slots(graph).values())
    scatter(bank)
    images = torch.randn(4, *graph.input_shape, generator=torch.Generator().manual_seed(0))
    whole = outputs(shared(bank, graph), images)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        choice = Paths(graph).draw(rng, drop_path=0.5, stochastic_depth=0.0, batch=4)
        models = [shared(bank, graph), plain(bank, graph)]
        for model in models:
            choose_paths(model, choice)
        found, expected = (outputs(model, images) for model in models)
        assert float((found - expected).abs().max()) <= ERROR * float(expected.abs().max())
        assert not torch.equal(found, whole)


def test_the_mode_of_one_child_is_not_that_of_another() -> None:
    bank = WeightBank(sharing="elastic")
    last = Classifier(10, dropout=0.5)
    graph = lower(
        Architecture("Net", (1, 8, 8), Stem(16, 3, 1, pool=False), ((ConvNormAct(16),),), last)
    )
    bank.reserve(bank.slots(graph).values())
    images = torch.randn(4, 1, 8, 8)
    one, other = shared(bank, graph).eval(), shared(bank, graph)
    assert torch.equal(one(images), one(images))
    assert not torch.equal(other(images), other(images))


def test_a_narrower_child_has_the_first_channels_behind_concatenations_too() -> None:
    bank = WeightBank(sharing="elastic")
    wide = network(DenseLayer(8, 0), DenseLayer(8, 0), Transition(1.0, 1, width=16))
    narrow = network(DenseLayer(4, 0), DenseLayer(4, 0), Transition(1.0, 1, width=16))
    for graph in (narrow, wide):  # the bank has to grow in the middle
        bank.reserve(bank.slots(graph).values())
    name = "stages.0.2.conv.weight"
    whole, part = bank.state_dict(wide)[name], bank.state_dict(narrow)[name]
    columns = [*range(16), *range(16, 20), *range(24, 28)]
    assert torch.equal(part, whole[:, columns])


def test_growing_keeps_what_was_trained_in_its_place() -> None:
    bank = WeightBank(sharing="elastic")
    small = network(MBConv(16, 3, expansion=3), MBConv(16, 3, expansion=3))
    bank.reserve(bank.slots(small).values())
    scatter(bank)
    before = bank.state_dict(small)
    large = network(MBConv(24, 7), MBConv(24, 7), MBConv(24, 7))
    bank.reserve(bank.slots(large).values())
    after = bank.state_dict(small)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_kernels_are_cropped_around_their_centre() -> None:
    bank = WeightBank(sharing="elastic")
    graphs = [network(ConvNormAct(8, kernel)) for kernel in (7, 3, 4)]
    for graph in graphs:
        bank.reserve(bank.slots(graph).values())
    seven, three, four = (bank.state_dict(graph)["stages.0.0.conv.weight"] for graph in graphs)
    assert torch.equal(three, seven[:, :, 2:5, 2:5])
    assert torch.equal(four, seven[:, :, 2:6, 2:6])  # one pixel more after than before


def test_gates_follow_the_channels_of_a_concatenation() -> None:
    bank = WeightBank(sharing="elastic")
    wide, narrow = (
        network(Inception(size, 8, size, 8, size, size, squeeze_ratio=0.25)) for size in (8, 4)
    )
    for graph in (wide, narrow):
        bank.reserve(bank.slots(graph).values())
    scatter(bank)
    name = "stages.0.0.squeeze_excite.expand.bias"
    rows = [row for start in (0, 8, 16, 24) for row in range(start, start + 4)]
    assert torch.equal(bank.state_dict(narrow)[name], bank.state_dict(wide)[name][rows])


def test_taking_weights_out_writes_nothing() -> None:
    bank = WeightBank(sharing="elastic")
    known, unknown = network(MBConv(16)), network(MBConv(32, 5), DenseLayer(8))
    bank.reserve(bank.slots(known).values())
    layout, arrays = bank.documents()
    copies = {key: array.copy() for key, array in arrays.items()}
    first = bank.state_dict(unknown)
    assert all(torch.equal(first[name], value) for name, value in bank.state_dict(unknown).items())
    first["stem.conv.weight"].zero_()
    assert bank.documents()[0] == layout
    assert all(np.array_equal(array, copies[key]) for key, array in arrays.items())


def test_a_part_in_one_piece_is_a_view_and_another_is_written_back() -> None:
    bank = WeightBank(sharing="elastic")
    graph = network(DenseLayer(4, 0), DenseLayer(4, 0), Transition(1.0, 1, width=16))
    bank.reserve(bank.slots(network(DenseLayer(8, 0), DenseLayer(8, 0))).values())
    slots = bank.slots(graph)
    bank.reserve(slots.values())
    view, piece = slots["stages.0.0.grow_conv.weight"], slots["stages.0.1.grow_conv.weight"]
    bank.take(view).fill_(3.0)
    assert float(bank.take(view).mean()) == 3.0
    bank.put(piece, torch.full(piece.shape, 2.0))
    assert float(bank.take(piece).mean()) == 2.0


def test_a_bank_survives_its_documents() -> None:
    bank = WeightBank(sharing="elastic", seed=3)
    graph = network(MBConv(16), DenseLayer(8))
    bank.reserve(bank.slots(graph).values())
    layout, arrays = bank.documents()
    again = WeightBank.of(layout, {key: torch.from_numpy(array) for key, array in arrays.items()})
    assert all(
        torch.equal(value, again.state_dict(graph)[name])
        for name, value in bank.state_dict(graph).items()
    )
    with pytest.raises(ValueError, match=r"stem\.Stem\.conv\.weight must have shape"):
        WeightBank.of(layout, {})


def test_words_are_checked() -> None:
    with pytest.raises(ValueError, match="sharing must be separate or elastic, got 'all'"):
        WeightBank(sharing="all")
