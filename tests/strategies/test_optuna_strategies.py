"""TPE and NSGA-II by Optuna: options, trees, quiet, and that they learn."""

from collections.abc import Callable

import numpy as np
import optuna
import pytest

from search_spaces.genome import Decision, Genome, Genotype, Option
from strategies.nsga2 import NSGA2
from strategies.random import RandomSearch
from strategies.strategy import Strategy
from strategies.tpe import TPE

KERNEL = Decision.of("kernel", (3, 5, 7))
TREE = Genome(
    (
        *(Decision.of(f"d{n}", range(4)) for n in range(6)),
        Decision("op", (Option("skip"), Option("conv", (KERNEL,)))),
        Decision.of("only", ("this",)),
    )
)


@pytest.mark.parametrize(
    ("make", "derived"),
    [
        (lambda: TPE(TREE, 100, ("maximize",), None), {"starts": 10}),
        (lambda: TPE(TREE, 20, ("maximize",), None), {"starts": 5}),
        (lambda: TPE(TREE, 1, ("maximize",), None), {"starts": 2}),
        (lambda: NSGA2(TREE, 100, ("maximize",), None), {"population_size": 20}),
        (lambda: NSGA2(TREE, 1, ("maximize",), None), {"population_size": 4}),
        (lambda: NSGA2(TREE, 999, ("maximize",), None), {"population_size": 50}),
    ],
)
def test_options_follow_the_budget(make: Callable[[], Strategy], derived: dict[str, int]) -> None:
    assert make().derived() == derived


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TPE(TREE, 9, ("maximize",), None, starts=0), "starts must be at least 1, got 0"),
        (lambda: TPE(TREE, 9, ("maximize",) * 2, None), "tpe: objectives must be exactly one"),
        (
            lambda: NSGA2(TREE, 9, ("maximize",), None, population_size=1),
            "population_size must be at least 2, got 1",
        ),
    ],
)
def test_mistakes_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def reward(genotype: Genotype) -> float:
    """Nearer to 2 is better, and so is a kernel of 5."""
    off = sum(abs(int(genotype[f"d{n}"]) - 2) for n in range(6))
    return -float(off) - (0 if genotype.get("kernel") == 5 else 2)


def best_of(strategy: Strategy, *, budget: int, seed: int) -> float:
    """The best reward, with three children at once of which every seventh fails."""
    running = []
    for number in range(budget):
        proposal = strategy.ask(np.random.default_rng((seed, number)))
        assert proposal is not None
        running.append((number, proposal))
        if len(running) == 3:
            for at, done in reversed(running):
                strategy.tell(done, None if at % 7 == 6 else (reward(done.genotype),))
            running.clear()
    return reward(strategy.recommend())


@pytest.mark.slow
@pytest.mark.parametrize("make", [TPE, NSGA2])
def test_they_beat_random_search_on_a_tree(make: type[TPE] | type[NSGA2]) -> None:
    # Twelve fixed seeds; losing more than two of the pairs that differ would be no better than
    # chance at 2 %.
    better = worse = 0
    for seed in range(12):
        mine, theirs = (
            best_of(cls(TREE, 60, ("maximize",), None), budget=60, seed=seed)
            for cls in (make, RandomSearch)
        )
        better += mine > theirs
        worse += mine < theirs
    assert better >= 8
    assert worse <= 2


def test_optuna_says_nothing_and_its_level_stays(capsys: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    best_of(TPE(TREE, 12, ("maximize",), None), budget=12, seed=0)
    best_of(NSGA2(TREE, 12, ("maximize",), None), budget=12, seed=0)
    assert optuna.logging.get_verbosity() == before
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
