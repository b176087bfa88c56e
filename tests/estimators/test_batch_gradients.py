"""Batches in pieces: how many, and that they add up, in one thread or in several."""

import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from estimators.batch_gradients import pieces
from estimators.data import Split
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from estimators.snapshot import Snapshot
from estimators.task import Classification
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.graph import Graph
from search_spaces.modules import build
from tests.estimators.test_full_training import DATA, EVERYTHING, equal, network, training


def test_a_batch_is_cut_for_threads_unless_pieces_are_small_or_maps_are_large() -> None:
    def graph(side: int, width: int = 16) -> Graph:
        stages = ((ConvNormAct(width),),)
        stem = ConvNormAct(width)
        return lower(Architecture("Net", (1, side, side), stem, stages, Classifier(2)))

    small = graph(28)
    counts = {threads: pieces(small, 64, threads) for threads in (1, 2, 3, 16)}
    assert counts == {1: 1, 2: 2, 3: 2, 16: 2}
    assert [pieces(small, images, 16) for images in (2, 63, 96, 512)] == [1, 1, 3, 16]
    assert pieces(graph(128), 64, 2) == 2  # 16 maps of 64 KiB, 32 MiB for half a batch
    assert pieces(graph(256), 64, 2) == 1
    assert pieces(graph(128, 32), 64, 2) == 1  # 64 MiB


def finished(fit: FullTraining) -> tuple[Any, dict[str, Tensor]]:
    return list(fit.passes()), fit.weights()


def trained(name: str) -> bool:
    """Whether a tensor of a snapshot is computed from gradients alone."""
    return "running" not in name and "num_batches" not in name


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pieces_in_two_threads_are_those_of_one_after_the_other(precision: str) -> None:
    recipe = FullRecipe(epochs=2, batch_size=64, precision=precision, clip=0.1, **EVERYTHING)
    torch.manual_seed(0)
    given = {"initial": build(network()).state_dict(), "factors": [("stem", 0.0)]}
    one, two, whole = (training(replace(recipe, threads=threads), **given) for threads in (1, 2, 1))
    one._gradients.parts = 2
    with two._gradients.in_threads():
        assert len(two._gradients._replicas.models) == 2
        assert torch.get_num_threads() == 1
    losses, states = [], []
    for fit in (one, two, whole):
        losses.append([line.loss for line in fit.passes()])
        states.append({name: one for name, one in fit.snapshot().tensors.items() if trained(name)})
    assert losses[0] == losses[1]
    assert equal(states[0], states[1])
    assert losses[0] != losses[2]  # batch norms see whole batches


def test_in_two_threads_a_training_that_goes_on_is_that_of_a_single_piece() -> None:
    recipe = FullRecipe(epochs=3, batch_size=64, threads=2, **EVERYTHING)
    whole, first, second = (training(recipe) for _ in range(3))
    curve, weights = finished(whole)
    next(first.passes())
    second.restore(Snapshot.from_bytes(first.snapshot().to_bytes(of="this"), of="this"))
    assert finished(second)[0] == curve[1:]
    assert equal(second.weights(), weights)


def test_a_training_of_whole_batches_goes_on_with_them_and_all_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit, seen = training(FullRecipe(epochs=2, batch_size=64, threads=2)), list[tuple[int, int]]()
    held = fit.snapshot()
    assert held.parts == 2
    fit.restore(replace(held, parts=1))  # as written before batches were cut for threads
    forward = fit._model.forward

    def watched(images: Tensor) -> Any:
        seen.append((len(images), torch.get_num_threads()))
        return forward(images)

    monkeypatch.setattr(fit._model, "forward", watched)
    fit.try_steps(1, time.monotonic)
    assert seen == [(64, 2)]


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_pieces_of_a_batch_add_up_to_its_gradient(class_weights: Any) -> None:
    """Without batch norm in train mode, which sees each piece alone."""
    recipe = FullRecipe(epochs=1, batch_size=16, class_weights=class_weights)
    labels = (torch.arange(len(DATA.train)) % 5 == 0).long()
    uneven = replace(DATA, train=Split(DATA.train.images, labels))
    gradients = []
    for parts in (1, 3):
        fit = FullTraining(network(), uneven, Classification(2), recipe, seed=3, device="cpu")
        fit._model.load_state_dict(build_plain())
        fit._gradients.parts = parts
        images, first = fit._images[:16], fit._labels[:16]
        others = first.flip(0)
        with fit._gradients.in_threads():
            fit._model.eval()
            fit._gradients(images, (first, others), 0.7, 0)
        gradients.append([one.grad for one in fit._model.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        assert torch.allclose(one, other, atol=1e-6)


def build_plain() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return build(network()).state_dict()
