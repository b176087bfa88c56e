"""Costs of many candidates: estimates near the truth, limits found."""

import numpy as np
import pytest

from search_spaces.genome import Decision, Genome, Genotype
from strategies.cheap_costs import CheapCosts
from strategies.encodings import Encodings

GENOME = Genome(tuple(Decision.of(f"d{n}", range(4)) for n in range(10)))
ENCODINGS = Encodings(GENOME)


class Sum:
    """Two costs that grow with every answer; what is above the limit is not feasible."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        codes = GENOME.encode(genotype)
        return (float(np.log(codes @ np.arange(1, 11))), 7.0)

    def feasible(self, genotype: Genotype) -> bool:
        return self.costs(genotype)[0] <= self.limit

    def repaired(self, genotype: Genotype) -> Genotype:
        return genotype


def costs(limit: float) -> CheapCosts:
    return CheapCosts(GENOME, Sum(limit), ENCODINGS)


def test_estimates_are_near_what_is_looked_up() -> None:
    cheap = costs(np.inf)
    codes = ENCODINGS.draw(200, np.random.default_rng(5))
    exact = cheap.exact([GENOME.decode(row) for row in codes])
    estimated = cheap.estimate(ENCODINGS.one_hot(codes))
    assert exact.shape == estimated.shape == (200, 2)
    assert exact[:, 0].std() == pytest.approx(1.0, abs=0.2)
    assert np.abs(exact - estimated)[:, 0].mean() < 0.2
    assert (exact[:, 1] == 0.0).all()  # a cost that never differs says nothing


def test_no_networks_is_no_costs() -> None:
    assert costs(np.inf).exact([]).shape == (0, 2)


def test_without_limits_everything_is_feasible() -> None:
    assert (costs(np.inf).log_chance_feasible(np.full((3, 2), 9.0), np.zeros((0, 2))) == 0).all()


def test_chances_follow_the_limit_and_what_is_known_to_be_within_it() -> None:
    limit = float(np.log(130.0))
    cheap = costs(limit)
    codes = ENCODINGS.draw(300, np.random.default_rng(6))
    genotypes = [GENOME.decode(row) for row in codes]
    chances = np.exp(
        cheap.log_chance_feasible(cheap.estimate(ENCODINGS.one_hot(codes)), np.zeros((0, 2)))
    )
    feasible = np.array([Sum(limit).feasible(genotype) for genotype in genotypes])
    assert 0.2 < feasible.mean() < 0.6
    assert chances[feasible].mean() > 0.8
    assert chances[~feasible].mean() < 0.2
    dear = np.array([[2.0, 0.0]])
    assert cheap.log_chance_feasible(dear, dear)[0] > cheap.log_chance_feasible(dear, -dear)[0]
