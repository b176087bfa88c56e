"""Random search: what it draws, and when it ends."""

from collections import Counter
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest

from search_spaces.genome import Decision, Genome, Genotype, Option
from strategies.random import MAX_INFEASIBLE, RandomSearch, Uniform


def lopsided_genome() -> Genome:
    """One genotype of depth 1, 81 of depth 2."""
    blocks = tuple(Decision.of(f"block_{n}", range(3)) for n in range(4))
    return Genome((Decision("depth", (Option(1), Option(2, blocks))),))


@dataclass
class Nothing:
    """No genotype is feasible."""

    asked: int = 0

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        return (0.0,)

    def feasible(self, genotype: Genotype) -> bool:
        self.asked += 1
        return False

    def repaired(self, genotype: Genotype) -> Genotype:
        return genotype


@pytest.mark.parametrize("uniform", ["genotypes", "options"])
def test_each_genotype_is_asked_once_then_nothing(uniform: Uniform) -> None:
    genome = lopsided_genome()
    strategy = RandomSearch(genome, 100, ("maximize",), None, uniform=uniform)
    proposals = [strategy.ask(np.random.default_rng(n)) for n in range(genome.size + 2)]
    assert len({p.genotype for p in proposals if p is not None}) == genome.size
    assert proposals[genome.size :] == [None, None]


def test_uniform_says_whether_genotypes_or_options_are_equally_likely() -> None:
    # The single shallow genotype comes first in 1 of 82 runs or in every other one. Of 200 runs,
    # 20 or more by the first rule, or 60 or fewer by the second, each have a chance below 1e-7.
    genome = lopsided_genome()
    shallow: Counter[str] = Counter()
    for seed in range(200):
        for uniform in get_args(Uniform):
            strategy = RandomSearch(genome, 9, ("maximize",), None, uniform=uniform)
            proposal = strategy.ask(np.random.default_rng(seed))
            assert proposal is not None
            shallow[uniform] += proposal.genotype["depth"] == 1
    assert shallow["genotypes"] < 20
    assert shallow["options"] > 60


def test_limits_that_nothing_meets_end_in_a_proposal_not_in_a_loop() -> None:
    features = Nothing()
    strategy = RandomSearch(lopsided_genome(), 5, ("maximize",), features)
    assert strategy.ask(np.random.default_rng(0)) is not None
    assert features.asked == MAX_INFEASIBLE


def test_several_objectives_are_served() -> None:
    strategy = RandomSearch(lopsided_genome(), 5, ("maximize", "minimize"), None)
    proposal = strategy.ask(np.random.default_rng(0))
    assert proposal is not None
    strategy.tell(proposal, (0.5, -3.0))
    assert strategy.recommend() == proposal.genotype
    assert strategy.derived() == {}


def test_an_unknown_kind_of_draw_is_named() -> None:
    with pytest.raises(ValueError, match="uniform must be genotypes or options, got 'cells'"):
        RandomSearch(lopsided_genome(), 5, ("maximize",), None, uniform="cells")  # type: ignore[arg-type]
