"""The four scores of AZ-NAS against plain linear algebra, and ranks among a fixed sample."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from estimators.proxies import az_nas
from estimators.proxies.az_nas import LOG_EPSILON, Parts, Reference, parts
from estimators.proxies.layers import quiet
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.graph import Graph
from search_spaces.modules import build


def network(stride: int = 2) -> Graph:
    stages = ((ConvNormAct(6, stride=stride), ConvNormAct(8)),)
    return lower(Architecture("Net", (1, 7, 7), ConvNormAct(4), stages, Classifier(3)))


def scored(graph: Graph, seed: int = 0) -> tuple[Parts, nn.Module, torch.Tensor]:
    torch.manual_seed(seed)
    model = quiet(build(graph))
    noise = torch.randn(16, *graph.input_shape)
    return parts(model, graph, noise), model, noise


def entropy(maps: torch.Tensor) -> float:
    rows = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1]).detach().double().numpy()
    values = np.clip(np.linalg.eigvalsh(np.cov(rows.T, bias=True)), 0, None)
    shares = values / values.sum()
    return float(-(shares * np.log(shares + LOG_EPSILON)).sum())


def test_expressivity_and_progressivity_are_entropies_of_blocks() -> None:
    graph = network()
    found, model, noise = scored(graph)
    stem = model.get_submodule("stem")(noise)
    first = model.get_submodule("stages.0.0")(stem)
    second = model.get_submodule("stages.0.1")(first)
    entropies = [entropy(maps) for maps in (stem, first, second)]
    assert found.expressivity == pytest.approx(sum(entropies))
    assert found.progressivity == pytest.approx(min(np.diff(entropies)))
    assert found.complexity == graph.macs


def stretch(weight: torch.Tensor) -> float | None:
    """Trainability of a block that multiplies channels by a matrix."""
    torch.manual_seed(0)
    earlier = torch.randn(64, weight.shape[1], 16, 16, requires_grad=True)
    later = nn.functional.conv2d(earlier, weight[:, :, None, None])
    return az_nas._trainability(earlier, later)


def test_trainability_is_best_where_gradients_keep_their_length() -> None:
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))
    kept, doubled = stretch(turn), stretch(2 * turn)
    assert kept == pytest.approx(0, abs=0.01)  # s = 1; from 16,384 pairs of signs
    assert doubled == pytest.approx(2 - 2 - 1 / 2, abs=0.03)


def test_a_block_that_does_nothing_or_hands_on_nothing_has_the_least_trainability() -> None:
    same = torch.randn(1, 2, 3, 3, requires_grad=True)
    assert az_nas._trainability(same, same * 1.0) == pytest.approx(-1e6, rel=1e-4)
    assert az_nas._trainability(same, same * 0) == pytest.approx(-1e6, rel=1e-4)


def test_a_block_that_reads_nothing_of_the_one_before_has_none() -> None:
    one, other = (torch.randn(1, 2, 3, 3, requires_grad=True) for _ in range(2))
    assert az_nas._trainability(one, other * 2) is None


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_maps_that_the_stride_does_not_divide_have_a_score(stride: int) -> None:
    assert math.isfinite(scored(network(stride))[0].trainability)


def test_ranks_are_those_among_the_sample() -> None:
    reference = Reference([Parts(value, 0, 0, 0) for value in (10, 30, 20)])
    # The others are all equal: each has the middle rank of three, 2 / 4.
    for value, rank in ((10, 1), (20, 2), (25, 2.5), (30, 3)):
        expected = math.log(rank / 4) + 3 * math.log(2 / 4)
        assert reference.score(Parts(value, 0, 0, 0)) == pytest.approx(expected)


def test_the_best_of_all_still_differ_and_so_do_the_worst() -> None:
    reference = Reference([Parts(value, 0, 0, 0) for value in (10, 30, 20)])
    scores = [reference.score(Parts(value, 0, 0, 0)) for value in (-500, 0, 10, 30, 40, 100)]
    assert scores == sorted(set(scores))
    assert reference.score(Parts(1e9, 0, 0, 0)) == pytest.approx(3 * math.log(2 / 4))
    assert math.isfinite(reference.score(Parts(-1e9, 0, 0, 0)))
