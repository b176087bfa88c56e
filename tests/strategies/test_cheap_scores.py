"""Scores of untrained networks: of any unit, some missing, looked up rarely."""

from collections.abc import Callable

import numpy as np
import pytest

from search_spaces.genome import Decision, Genome, Genotype
from strategies.cheap_scores import PROBES, CheapScores
from strategies.encodings import Encodings

GENOME = Genome(tuple(Decision.of(f"d{n}", range(4)) for n in range(6)))
ENCODINGS = Encodings(GENOME)


class Scored:
    """One score, of the sum of the answers; even sums only are within the limits."""

    def __init__(self, score: Callable[[int], float]) -> None:
        self.score = score
        self.asked: list[int] = []

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        return (0.0,)

    def feasible(self, genotype: Genotype) -> bool:
        return int(GENOME.encode(genotype).sum()) % 2 == 0

    def repaired(self, genotype: Genotype) -> Genotype:
        while not self.feasible(genotype):
            genotype = next(GENOME.neighbours(genotype))
        return genotype

    def scores(self, genotype: Genotype) -> tuple[float, ...]:
        self.asked.append(int(GENOME.encode(genotype).sum()))
        return (self.score(self.asked[-1]),)


def drawn(count: int) -> tuple[list[Genotype], np.ndarray]:
    codes = ENCODINGS.draw(count, np.random.default_rng(5))
    return [GENOME.decode(row) for row in codes], ENCODINGS.one_hot(codes)


def test_the_probe_is_within_the_limits() -> None:
    features = Scored(float)
    CheapScores(GENOME, features, ENCODINGS)
    assert len(features.asked) == PROBES
    assert all(total % 2 == 0 for total in features.asked)


@pytest.mark.parametrize("unit", [lambda total: 1e-6 * total, lambda total: 1e9 * total - 1e10])
def test_estimates_are_near_what_is_looked_up_in_any_unit(unit: Callable[[int], float]) -> None:
    cheap = CheapScores(GENOME, Scored(unit), ENCODINGS)
    genotypes, one_hot = drawn(200)
    exact, estimated = cheap.exact(genotypes), cheap.estimate(one_hot)
    assert exact.shape == estimated.shape == (200, 1)
    assert exact.std() == pytest.approx(1.0, abs=0.2)
    assert np.abs(exact - estimated).mean() < 0.3
    assert cheap.exact(genotypes) == pytest.approx(
        CheapScores(GENOME, Scored(float), ENCODINGS).exact(genotypes)
    )


def test_scores_that_span_powers_of_ten_stay_comparable_and_in_order() -> None:
    features = Scored(lambda total: 10.0**total)
    exact = CheapScores(GENOME, features, ENCODINGS).exact(drawn(200)[0])[:, 0]
    sums = np.array(features.asked[PROBES:])
    assert exact.max() < 30.0
    assert (np.diff(exact[np.argsort(sums, kind="stable")]) >= 0.0).all()


def test_a_network_without_a_score_is_taken_for_a_median_one() -> None:
    features = Scored(lambda total: np.nan if total % 3 == 0 else float(total))
    exact = CheapScores(GENOME, features, ENCODINGS).exact(drawn(200)[0])[:, 0]
    sums = np.array(features.asked[PROBES:])
    assert (exact[sums % 3 == 0] == 0.0).all()
    assert np.isfinite(exact).all()
    assert exact[sums % 3 != 0].std() > 0.5


def test_an_infinite_score_is_none() -> None:
    features = Scored(lambda total: np.inf if total > 16 else float(total))
    exact = CheapScores(GENOME, features, ENCODINGS).exact(drawn(200)[0])[:, 0]
    sums = np.array(features.asked[PROBES:])
    assert (exact[sums > 16] == 0.0).all()
    assert exact[sums <= 16].std() > 0.5


@pytest.mark.parametrize("constant", [np.nan, 7.0])
def test_a_score_that_says_nothing_is_nothing(constant: float) -> None:
    cheap = CheapScores(GENOME, Scored(lambda total: constant), ENCODINGS)
    genotypes, one_hot = drawn(20)
    assert not cheap.exact(genotypes).any()
    assert not cheap.estimate(one_hot).any()


def test_no_networks_is_no_scores() -> None:
    assert CheapScores(GENOME, Scored(float), ENCODINGS).exact([]).shape == (0, 1)
