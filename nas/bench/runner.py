"""One strategy on one table for one seed: ask, look up, tell."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import final

from nas.bench.benchmark import ASK, Benchmark, Draw
from nas.errors import usage_error
from nas.plan import rng_of
from strategies.strategy import Strategy

FRUITLESS_ASKS = 100  # in a row end a run, as they end a search


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy came to.

    Attributes:
        recommended: The network that it recommends after each number of queries.
        best_told: The network with the best score it was told, likewise; ties: asked first.
        queries: How many there were; fewer than wanted where it had nothing left to propose.
        asks: How often it was asked.
        seconds: What the asks took, in all.
    """

    recommended: tuple[int, ...]
    best_told: tuple[int, ...]
    queries: int
    asks: int
    seconds: float


def run(
    strategy: Strategy,
    benchmark: Benchmark,
    draw: Draw,
    *,
    seed: int,
    queries: Sequence[int],
) -> Outcome:
    """Drive a fresh strategy until it has spent its queries.

    A query is a network asked for the first time. Asked again, also by another of its genotypes,
    it tells the same again and costs nothing; neither does a genotype beyond the limits or
    without a row, which is told None. Every ask waits for the tell before.

    Args:
        strategy: Fresh, with the largest number of ``queries`` as its budget.
        benchmark: The table.
        draw: What this seed makes of it.
        seed: Of the asks.
        queries: After how many it is judged, ascending. Where it ends before, its last
            recommendation stands.

    Raises:
        NasError: If it proposes nothing, or recommends what it was not told (exit code 2).
    """
    told: dict[int, float] = {}
    recommended: list[int] = []
    best_told: list[int] = []
    seconds, asks, fruitless = 0.0, 0, 0
    for number in count():
        rng = rng_of(seed, ASK, number)
        start = time.perf_counter()
        proposal = strategy.ask(rng)
        seconds += time.perf_counter() - start
        asks += 1
        if proposal is None:
            break
        network = benchmark.feasible_network(proposal.genotype)
        fruitless += 1
        if network is not None and network not in told:
            told[network] = float(draw.told[network])
            fruitless = 0
        strategy.tell(proposal, None if network is None else (told[network],))
        if fruitless == 0 and len(told) == queries[len(recommended)]:
            recommended.append(_recommended(strategy, benchmark, told))
            best_told.append(max(told, key=told.__getitem__))
        if len(recommended) == len(queries) or fruitless == FRUITLESS_ASKS:
            break
    missing = len(queries) - len(recommended)
    if missing:
        recommended += [_recommended(strategy, benchmark, told)] * missing
        best_told += [max(told, key=told.__getitem__)] * missing
    return Outcome(tuple(recommended), tuple(best_told), len(told), asks, seconds)


def _recommended(strategy: Strategy, benchmark: Benchmark, told: dict[int, float]) -> int:
    try:
        network = benchmark.feasible_network(strategy.recommend())
    except ValueError as error:
        raise usage_error(f"{type(strategy).__name__}: cannot recommend: {error}") from error
    if network not in told:
        raise usage_error(
            f"{type(strategy).__name__}: recommend must return a genotype told with rewards"
        )
    assert network is not None  # noqa: S101 - None is never told
    return network
