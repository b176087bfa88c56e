"""Local search: starts, climbs, several at once, limits, restarts."""

from collections.abc import Callable

import numpy as np
import pytest

from search_spaces.genome import Decision, Genome, Genotype
from strategies.local import LocalSearch
from strategies.strategy import Features, Proposal

GENOME = Genome(tuple(Decision.of(f"d{n}", range(3)) for n in range(6)))


class Sum:
    """Cost grows with every answer; what costs more than ``limit`` is beyond the limits."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        return (float(GENOME.encode(genotype).sum() - 6),)

    def feasible(self, genotype: Genotype) -> bool:
        return self.costs(genotype)[0] <= self.limit

    def repaired(self, genotype: Genotype) -> Genotype:
        return GENOME.unrank(0)


def local(budget: int = 100, *, features: Features | None = None, starts: int = 1) -> LocalSearch:
    return LocalSearch(GENOME, budget, ("maximize",), features, starts=starts)


def ask(strategy: LocalSearch, number: int) -> Proposal:
    proposal = strategy.ask(np.random.default_rng((3, number)))
    assert proposal is not None
    return proposal


def changes(genotype: Genotype, other: Genotype) -> int:
    return sum(genotype[name] != other[name] for name in GENOME.names)


@pytest.mark.parametrize(("budget", "starts"), [(1, 1), (9, 1), (10, 2), (20, 4), (1000, 4)])
def test_starts_follow_the_budget(budget: int, starts: int) -> None:
    strategy = LocalSearch(GENOME, budget, ("maximize",), None)
    assert strategy.derived() == {"starts": starts}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: local(starts=0), "starts must be at least 1, got 0"),
        (
            lambda: LocalSearch(GENOME, 9, ("maximize", "minimize"), None),
            "local: objectives must be exactly one, got 2",
        ),
    ],
)
def test_mistakes_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_neighbours_of_the_best_start_are_asked_until_one_is_better() -> None:
    strategy = local(starts=3)
    starts = [ask(strategy, number) for number in range(3)]
    for proposal, reward in zip(starts, (1.0, 3.0, 2.0), strict=True):
        strategy.tell(proposal, (reward,))
    worse = ask(strategy, 3)
    assert changes(worse.genotype, starts[1].genotype) == 1
    strategy.tell(worse, (0.0,))
    better = ask(strategy, 4)
    assert changes(better.genotype, starts[1].genotype) == 1
    strategy.tell(better, (4.0,))
    assert changes(ask(strategy, 5).genotype, better.genotype) == 1
    assert strategy.recommend() == better.genotype


def test_several_children_at_once_are_neighbours_of_one_centre() -> None:
    strategy = local()
    start = ask(strategy, 0)
    strategy.tell(start, (1.0,))
    together = [ask(strategy, number) for number in range(1, 7)]
    assert {changes(proposal.genotype, start.genotype) for proposal in together} == {1}
    assert len(set(together)) == 6


def test_where_all_neighbours_were_asked_it_starts_again() -> None:
    strategy = local()
    start = ask(strategy, 0)
    strategy.tell(start, (9.0,))
    for number in range(1, 13):  # six decisions with two other options
        proposal = ask(strategy, number)
        assert changes(proposal.genotype, start.genotype) == 1
        strategy.tell(proposal, (0.0,))
    assert changes(ask(strategy, 13).genotype, start.genotype) > 1


def test_at_a_limit_it_steps_over_and_back() -> None:
    # The start costs as much as is allowed; once all cheaper neighbours were asked, one answer
    # grows while another shrinks.
    features = Sum(6.0)
    strategy = local(features=features)
    start = GENOME.genotype(dict.fromkeys(GENOME.names, 1))
    strategy.asked(Proposal(start))
    strategy.tell(Proposal(start), (9.0,))
    for number in range(6):
        cheaper = ask(strategy, number)
        assert changes(cheaper.genotype, start) == 1
        strategy.tell(cheaper, (0.0,))
    swapped = ask(strategy, 6).genotype
    assert changes(swapped, start) == 2
    assert features.costs(swapped)[0] <= 6


def test_the_top_of_an_additive_landscape_is_reached_from_any_start() -> None:
    # From everywhere at most six improvements lead up; asking each neighbour takes at most
    # 6 * 12 queries.
    for seed in range(10):
        landscape = np.random.default_rng(seed).normal(size=(6, 3))
        strategy = local()
        for number in range(73):
            proposal = strategy.ask(np.random.default_rng((seed, number)))
            assert proposal is not None
            codes = GENOME.encode(proposal.genotype) - 1
            strategy.tell(proposal, (float(landscape[np.arange(6), codes].sum()),))
        best = GENOME.encode(strategy.recommend()) - 1
        assert best.tolist() == landscape.argmax(axis=1).tolist()
