"""From genotypes to networks and their costs."""

import math

import numpy as np
import pytest

from nas.children import Children
from nas.limits import Limits
from search_spaces.architecture import Architecture, lower
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.mbconv import MBConvSpace
from search_spaces.space import SearchSpace

SHAPE = (1, 8, 8)


def children(space: type[SearchSpace], limits: Limits | None = None) -> Children:
    return Children(space(SHAPE, 2), Limits() if limits is None else limits)


def test_a_child_is_its_network(mini: type[SearchSpace]) -> None:
    genome = mini(SHAPE, 2).genome
    made = children(mini)
    for rank in range(genome.size):
        child = made.child(genome.unrank(rank))
        assert child.genotype == genome.unrank(rank)
        assert child.digest == digest(child.graph)
        assert (child.params, child.macs) == (child.graph.params, child.graph.macs)
        assert child.architecture.input_shape == SHAPE


def test_genotypes_of_one_network_have_one_digest(mini: type[SearchSpace]) -> None:
    genome, made = mini(SHAPE, 2).genome, children(mini)
    digests = [made.child(genome.unrank(rank)).digest for rank in range(genome.size)]
    assert digests[0::2] == digests[1::2]
    assert len(set(digests)) == genome.size // 2


def test_a_child_is_made_once(mini: type[SearchSpace]) -> None:
    genome, made = mini(SHAPE, 2).genome, children(mini)
    first = made.child(genome.unrank(3))
    assert made.child(genome.unrank(3)) is first


def test_only_the_latest_are_kept(mini: type[SearchSpace], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.children._KEPT", 2)
    genome, made = mini(SHAPE, 2).genome, children(mini)
    first, second = (made.child(genome.unrank(rank)) for rank in (0, 1))
    assert made.child(genome.unrank(0)) is first  # used again, so the second is older now
    made.child(genome.unrank(2))
    assert made.child(genome.unrank(0)) is first
    assert made.child(genome.unrank(1)) is not second


def test_costs_are_logarithms_of_macs_and_parameters(mini: type[SearchSpace]) -> None:
    genome, made = mini(SHAPE, 2).genome, children(mini)
    child = made.child(genome.unrank(4))
    assert made.costs(genome.unrank(4)) == (math.log(child.macs), math.log(child.params))


def test_what_is_just_within_a_limit_is_feasible(mini: type[SearchSpace]) -> None:
    genome = mini(SHAPE, 2).genome
    child = children(mini).child(genome.unrank(4))
    for limits, feasible in (
        (Limits(max_params=child.params, max_macs=child.macs), True),
        (Limits(max_params=child.params - 1), False),
        (Limits(max_macs=child.macs - 1), False),
    ):
        assert children(mini, limits).feasible(genome.unrank(4)) is feasible


def test_the_nearest_feasible_child_is_found_where_it_is_one_in_a_million() -> None:
    # The smallest network of the space; 64 draws alone do not find it.
    space = MBConvSpace((1, 8, 8), 10)
    smallest = space.genome.unrank(0)
    while True:
        made = children_of(space, Limits())
        smaller = min(space.genome.neighbours(smallest), key=lambda one: made.child(one).params)
        if made.child(smaller).params >= made.child(smallest).params:
            break
        smallest = smaller
    params = children_of(space, Limits()).child(smallest).params
    found = children_of(space, Limits(max_params=params)).nearest_feasible(np.random.default_rng(0))
    assert found.params == params


def test_where_nothing_is_feasible_the_nearest_is_told() -> None:
    space = MBConvSpace((1, 8, 8), 10)
    found = children_of(space, Limits(max_params=1)).nearest_feasible(np.random.default_rng(0))
    made = children_of(space, Limits())
    assert found.params > 1
    assert all(
        made.child(neighbour).params >= found.params
        for neighbour in space.genome.neighbours(found.genotype)
    )


def test_the_way_down_looks_at_few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start at the first decision after every change looks at 300 to 600 of them."""
    looked: list[Architecture] = []

    def counted(architecture: Architecture) -> Graph:
        looked.append(architecture)
        return lower(architecture)

    monkeypatch.setattr("nas.children.lower", counted)
    space = MBConvSpace((3, 64, 64), 9)
    rng, made = np.random.default_rng(0), children_of(space, Limits(max_macs=8_000_000))
    for _ in range(4):
        looked.clear()
        genotype = space.genome.sample_options(rng)
        assert not made.feasible(genotype)
        assert made.feasible(made.repaired(genotype))
        assert len(looked) < 150


def children_of(space: SearchSpace, limits: Limits) -> Children:
    return Children(space, limits)
