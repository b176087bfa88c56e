"""Scoring: what it computes is what the network computes, which stays as it was."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from estimators.data import Split
from estimators.resizing import resized
from estimators.scoring import LARGEST_BATCH, SMALLEST_BATCH, outputs_of, scored
from nas import plugins
from search_spaces import SEARCH_SPACES
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.folding import folded_norms
from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.modules import build
from search_spaces.primitives import BatchNorm2d, Concat, Conv2d

Liven = Callable[[nn.Module], nn.Module]
SPACES = [name for name in SEARCH_SPACES if name != "scaling"]


def child(name: str) -> Graph:
    space = plugins.load("search_spaces", name)((3, 8, 8), 5)
    return lower(space.architecture(space.genome.sample_options(np.random.default_rng(0))))


def images(count: int, *, side: int = 8) -> Split:
    drawn = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))
    return Split(drawn, torch.zeros(count, dtype=torch.int64))


def plain(model: nn.Module, graph: Graph, split: Split) -> Tensor:
    with torch.inference_mode():
        outputs: Tensor = model.eval()(resized(split.images, graph.input_shape[1:]))
    return outputs


def seen(model: nn.Module, graph: Graph, split: Split) -> tuple[Tensor, list[int]]:
    """What scoring yields, and the size of every batch that one of the model's layers was given."""
    sizes: list[int] = []
    last = [one for one in model.modules() if isinstance(one, nn.Linear)][-1]
    handle = last.register_forward_hook(lambda _layer, given, _result: sizes.append(len(given[0])))
    outputs = scored(model, split, graph=graph, device="cpu")
    handle.remove()
    return outputs, sizes


@pytest.mark.parametrize("name", SPACES)
def test_children_of_every_space_are_scored_by_what_they_compute(name: str, liven: Liven) -> None:
    graph, split = child(name), images(9, side=10)
    model = liven(build(graph))
    outputs = scored(model, split, graph=graph, device="cpu")
    expected = plain(model, graph, split)
    assert float((outputs - expected).abs().max() / expected.abs().max()) < 1e-4


class Twice(BlockSpec):
    """Activations whose inputs others read: none of them may write over it."""

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        conv = scope.add("conv", Conv2d(4, 3, padding=1), inputs[-1])
        one = scope.activation("one", inputs[-1], "silu")
        two = scope.activation("two", conv, "silu")
        three = scope.activation("three", scope.norm("norm", conv), "relu")
        return scope.add("all", Concat(), one, two, three, conv)


def test_images_and_what_several_layers_read_are_not_written_over(liven: Liven) -> None:
    blocks = ((ConvNormAct(8),),)
    graph = lower(Architecture("Net", (3, 8, 8), Twice(), blocks, Classifier(2)))
    model, split = liven(build(graph)), images(4)
    before = split.images.clone()
    outputs = scored(model, split, graph=graph, device="cpu")
    assert torch.equal(split.images, before)
    assert outputs.numpy() == pytest.approx(plain(model, graph, split).numpy(), abs=1e-5)


@pytest.mark.parametrize("name", ["mbconv", "dense"])
def test_norms_are_folded_where_they_can_be(name: str, liven: Liven) -> None:
    graph = child(name)
    model, run = liven(build(graph)), list[nn.Module]()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.Conv2d):
            layer.register_forward_hook(lambda layer, _given, _result: run.append(layer))
    scored(model, images(2), graph=graph, device="cpu")
    norms = sum(isinstance(node.primitive, BatchNorm2d) for node in graph.nodes)
    assert len(run) == norms - len(folded_norms(graph)) < norms
    assert (name == "dense") == bool(run)


def test_the_network_stays_as_it_was_and_is_scored_alike_again(liven: Liven) -> None:
    graph, split = child("mbconv"), images(9)
    model = liven(build(graph)).train()
    before = {name: (one.clone(), one.stride()) for name, one in model.state_dict().items()}
    layers, state = list(model.modules()), torch.get_rng_state()
    first = scored(model, split, graph=graph, device="cpu")
    assert torch.equal(first, scored(model, split, graph=graph, device="cpu"))
    assert list(model.modules()) == layers
    assert torch.equal(state, torch.get_rng_state())
    for name, one in model.state_dict().items():
        assert torch.equal(one, before[name][0])
        assert one.stride() == before[name][1]
    assert all(one.requires_grad for one in model.parameters())
    model.train()(split.images).sum().backward()
    assert all(one.grad is not None for one in model.parameters())


def test_batches_are_as_large_as_feature_maps_allow() -> None:
    def net(channels: int) -> Graph:
        blocks = ((ConvNormAct(8),),)
        return lower(Architecture("Net", (3, 8, 8), ConvNormAct(channels), blocks, Classifier(2)))

    for channels, size in ((8, LARGEST_BATCH), (1024, 24), (8_192, SMALLEST_BATCH)):
        graph = net(channels)
        count = min(size + 3, 80)
        outputs, sizes = seen(build(graph), graph, images(count))
        assert sizes[0] == min(size, count)
        assert len(outputs) == sum(sizes) == count


class Cramped(nn.Module):
    """Has room for so many images at a time, once some batches have passed."""

    def __init__(self, room: int, *, free: int = 0) -> None:
        super().__init__()
        self.room, self.free = room, free
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        if len(images) > self.room and len(self.sizes) > self.free:
            raise torch.OutOfMemoryError("no room")
        return images.mean((2, 3))


def test_batches_are_halved_until_the_device_has_room() -> None:
    graph, split = child("mbconv"), images(600)
    cramped = Cramped(60)
    outputs = outputs_of(cramped, split, graph=graph, device="cpu")
    torch.testing.assert_close(outputs, plain(Cramped(600), graph, split))
    fits = next(place for place, size in enumerate(cramped.sizes) if size <= cramped.room)
    assert fits >= 2
    halved = [size // 2 for size in cramped.sizes[:fits]]
    assert cramped.sizes[1 : fits + 1] == halved
    assert sum(cramped.sizes[fits:]) == len(split)


def test_a_later_batch_that_does_not_fit_leaves_no_image_twice() -> None:
    graph, split = child("mbconv"), images(600)
    cramped = Cramped(60, free=1)
    outputs = outputs_of(cramped, split, graph=graph, device="cpu")
    torch.testing.assert_close(outputs, plain(Cramped(600), graph, split))
    assert cramped.sizes[0] > cramped.room


def test_an_image_that_never_fits_is_told() -> None:
    cramped = Cramped(0)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        outputs_of(cramped, images(40), graph=child("mbconv"), device="cpu")
    assert cramped.sizes == [40, 20, 10, SMALLEST_BATCH]
