"""Driving one strategy: what counts as a query, what is told, and when it ends."""

from collections.abc import Callable, Sequence
from typing import final

import numpy as np
import pytest

from nas import engine
from nas.bench import runner
from nas.bench.benchmark import Benchmark, CostLimit
from nas.bench.runner import Outcome
from nas.bench.table import Table
from nas.errors import NasError
from search_spaces.genome import Genome, Genotype
from strategies.history import Proposal
from strategies.strategy import Features, Strategy

Read = Callable[[str], Table]


@final
class Scripted(Strategy):
    """Proposes what it is given, and recommends the first success or what it is told to."""

    script: Sequence[Genotype] = ()
    recommended: Genotype | None = None

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...] = ("maximize",),
        features: Features | None = None,
    ) -> None:
        super().__init__(genome, budget, directions, features)
        self.heard: list[tuple[float, ...] | None] = []

    def recommend(self) -> Genotype:
        if self.recommended is not None:
            return self.recommended
        if not self.history.successes:
            raise ValueError("history must hold a success to recommend from, got none")
        return self.history.successes[0].proposal.genotype

    def derived(self) -> dict[str, int | float | str]:
        return {}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        asked = len(self.history.asked)
        return Proposal(self.script[asked]) if asked < len(self.script) else None


def drive(
    benchmark: Benchmark,
    script: Sequence[tuple[str, str]],
    *,
    queries: Sequence[int],
    recommended: tuple[str, str] | None = None,
) -> tuple[Outcome, Scripted]:
    genome = benchmark.table.genome
    strategy = Scripted(genome, queries[-1])
    strategy.script = [genome.genotype({"op": op, "width": width}) for op, width in script]
    if recommended is not None:
        strategy.recommended = genome.genotype(dict(zip(genome.names, recommended, strict=True)))
    draw = benchmark.draw(0)
    return runner.run(strategy, benchmark, draw, seed=0, queries=queries), strategy


A1, A2, B, C = ("conv", "2"), ("pool", "2"), ("conv", "10"), ("pool", "10")


def network(benchmark: Benchmark, answers: tuple[str, str]) -> int:
    genome = benchmark.table.genome
    found = benchmark.feasible_network(
        genome.genotype(dict(zip(genome.names, answers, strict=True)))
    )
    assert found is not None
    return found


def test_a_network_asked_again_costs_nothing_and_tells_the_same(table: Read, small: str) -> None:
    benchmark = Benchmark(table(small))
    outcome, strategy = drive(benchmark, [A1, A2, A1, C, B], queries=[1, 2])
    assert (outcome.queries, outcome.asks) == (2, 4)
    assert [told.rewards for told in strategy.history.successes] == [(1.0,), (1.0,), (1.0,), (3.0,)]


def test_what_is_beyond_the_limits_costs_nothing_and_fails(table: Read, small: str) -> None:
    benchmark = Benchmark(table(small), [CostLimit.parse("macs=200")])
    outcome, strategy = drive(benchmark, [B, A1, B, C], queries=[2])
    assert (outcome.queries, outcome.asks) == (2, 4)
    assert [told.rewards for told in strategy.history.successes] == [(1.0,), (3.0,)]


def test_the_recommended_and_the_best_told_are_both_kept(table: Read, small: str) -> None:
    benchmark = Benchmark(table(small))
    outcome, _ = drive(benchmark, [A1, C, B], queries=[1, 2, 3])
    a, c = network(benchmark, A1), network(benchmark, C)
    assert outcome.recommended == (a, a, a)
    assert outcome.best_told == (a, c, c)


def test_where_asks_end_the_last_recommendation_stands(table: Read, small: str) -> None:
    benchmark = Benchmark(table(small))
    outcome, _ = drive(benchmark, [A1, C], queries=[1, 3, 9])
    a, c = network(benchmark, A1), network(benchmark, C)
    assert outcome.recommended == (a, a, a)
    assert outcome.best_told == (a, c, c)
    assert outcome.queries == 2


def test_fruitless_asks_end_a_run_as_they_end_a_search(table: Read, small: str) -> None:
    assert runner.FRUITLESS_ASKS == engine.FRUITLESS_ASKS
    benchmark = Benchmark(table(small))
    outcome, _ = drive(benchmark, [A1, *[A2] * 99, C, *[A1] * 200], queries=[3])
    assert (outcome.queries, outcome.asks) == (2, 101 + 100)


@pytest.mark.parametrize(
    ("script", "recommended", "message"),
    [
        ([], None, "Scripted: cannot recommend: history must hold a success"),
        ([A1, C], B, "Scripted: recommend must return a genotype told with rewards"),
    ],
)
def test_a_strategy_without_a_recommendation_is_named(
    table: Read,
    small: str,
    script: list[tuple[str, str]],
    recommended: tuple[str, str] | None,
    message: str,
) -> None:
    with pytest.raises(NasError, match=message):
        drive(Benchmark(table(small)), script, queries=[1], recommended=recommended)
