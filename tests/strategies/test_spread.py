"""First proposals: what they cost, without costs too, and where limits bite."""

from fractions import Fraction

import numpy as np

from search_spaces.genome import Decision, Genome, Genotype
from strategies.history import History, Proposal
from strategies.spread import draw_spread, spread_quantile

GENOME = Genome(tuple(Decision.of(f"d{n}", range(4)) for n in range(3)))


class Sum:
    """Cost grows with every answer; what costs more than ``limit`` is beyond the limits."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        return (float(GENOME.encode(genotype).sum() - 3),)

    def feasible(self, genotype: Genotype) -> bool:
        return self.costs(genotype)[0] <= self.limit

    def repaired(self, genotype: Genotype) -> Genotype:
        return GENOME.unrank(0)


def drawn(features: Sum | None, *, asks: int, seed: int = 0) -> list[Genotype]:
    history = History()
    for number in range(asks):
        rng = np.random.default_rng((seed, number))
        genotype = draw_spread(GENOME, history, features=features, rng=rng)
        if genotype is None:
            break
        history.record_asked(Proposal(genotype))
    return [proposal.genotype for proposal in history.asked]


def test_quantiles_are_the_ends_then_spread_between() -> None:
    quantiles = [Fraction(spread_quantile(position)) for position in range(9)]
    eighths = [8, 0, 4, 6, 2, 7, 3, 5, 1]
    assert quantiles == [Fraction(eighth, 8) for eighth in eighths]


def test_costs_lie_where_the_quantiles_are_and_within_the_limits() -> None:
    features = Sum(7.0)
    costs = np.array(
        [[features.costs(g)[0] for g in drawn(features, asks=3, seed=s)] for s in range(20)]
    )
    largest, smallest, middle = costs.mean(axis=0)
    assert costs.max() <= 7
    assert smallest < 2
    assert 3.5 < middle < 5.5
    assert largest > 6.5


def test_nothing_is_drawn_twice_and_the_whole_space_comes_up() -> None:
    assert len(set(drawn(Sum(9.0), asks=100))) == GENOME.size == 64


def test_without_costs_draws_are_random_and_new() -> None:
    genotypes = drawn(None, asks=100)
    assert len(genotypes) == len(set(genotypes)) == 64
    assert genotypes[:5] != drawn(None, asks=5, seed=1)


def test_where_nothing_is_feasible_a_draw_is_repaired() -> None:
    assert drawn(Sum(-1.0), asks=1) == [GENOME.unrank(0)]
