"""Optuna's process as a peer: options, trees, and that it repeats."""

import numpy as np
import pytest

from nas.bench.optuna_gp import OptunaGP
from search_spaces.genome import Decision, Genome, Genotype, Option

KERNEL = Decision.of("kernel", (3, 5, 7))
TREE = Genome(
    (
        *(Decision.of(f"d{n}", range(4)) for n in range(4)),
        Decision("op", (Option("skip"), Option("conv", (KERNEL,)))),
    )
)


def reward(genotype: Genotype) -> float:
    """Nearer to 2 is better, and so is a kernel of 5."""
    off = sum(abs(int(genotype[f"d{n}"]) - 2) for n in range(4))
    return -float(off) - (0 if genotype.get("kernel") == 5 else 2)


@pytest.mark.parametrize(("budget", "starts"), [(1, 2), (20, 5), (100, 10)])
def test_starts_follow_the_budget(budget: int, starts: int) -> None:
    assert OptunaGP(TREE, budget, ("maximize",), None).derived() == {"starts": starts}


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="starts must be at least 1, got 0"):
        OptunaGP(TREE, 9, ("maximize",), None, starts=0)
    with pytest.raises(ValueError, match="optuna-gp: objectives must be exactly one, got 2"):
        OptunaGP(TREE, 9, ("maximize",) * 2, None)


def test_it_proposes_new_genotypes_and_the_same_from_the_same_generator() -> None:
    strategy = OptunaGP(TREE, 20, ("maximize",), None, starts=2)
    for number in range(4):
        rng = (5, number)
        foreseen = strategy.foresee(np.random.default_rng(rng))
        proposal = strategy.ask(np.random.default_rng(rng))
        assert proposal is not None
        assert proposal == foreseen
        strategy.tell(proposal, (reward(proposal.genotype),))
    assert len(strategy.history.genotypes) == 4
    assert reward(strategy.recommend()) == max(
        success.rewards[0] for success in strategy.history.successes
    )
