"""All contestants on all tables, over the same seeds, and what can be said of the difference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nas.bench.benchmark import Benchmark, Draw
from nas.bench.contestants import Contestant, contestants
from nas.bench.runner import Outcome, run

CONFIDENCE = 0.95


@final
class Scores:
    """How good one network per seed and number of queries is.

    Attributes:
        regrets: Shape (seeds, queries).
        ranks: Of the same shape.
    """

    def __init__(self, seeds: int, queries: int) -> None:
        self.regrets: NDArray[np.float64] = np.zeros((seeds, queries))
        self.ranks: NDArray[np.int64] = np.ones((seeds, queries), dtype=np.int64)

    def enter(self, seed: int, networks: Sequence[int], draw: Draw) -> None:
        """Judge the networks of one seed."""
        self.regrets[seed] = [draw.regret(network) for network in networks]
        self.ranks[seed] = [draw.rank(network) for network in networks]

    @property
    def optima(self) -> NDArray[np.float64]:
        """1 where the network is the optimum, else 0."""
        return np.where(self.ranks == 1, 1.0, 0.0)


@final
class Standing:
    """What one contestant came to on one table.

    Attributes:
        recommended: Of the network that it recommends.
        best_told: Of the one with the best score it was told.
        ended_early: Seeds in which it stopped before its last query.
    """

    def __init__(self, seeds: int, queries: Sequence[int]) -> None:
        self.recommended = Scores(seeds, len(queries))
        self.best_told = Scores(seeds, len(queries))
        self.ended_early = 0
        self._last = queries[-1]
        self._asks = 0
        self._seconds = 0.0

    @property
    def seconds_per_ask(self) -> float:
        """Mean over all asks of all seeds."""
        return self._seconds / self._asks

    def enter(self, seed: int, outcome: Outcome, draw: Draw) -> None:
        """Add the outcome of one seed."""
        self.recommended.enter(seed, outcome.recommended, draw)
        self.best_told.enter(seed, outcome.best_told, draw)
        self.ended_early += outcome.queries < self._last
        self._asks += outcome.asks
        self._seconds += outcome.seconds


@final
@dataclass(frozen=True, slots=True)
class Standings:
    """Everybody on one table.

    Attributes:
        benchmark: The table and its limits.
        floors: See ``Benchmark.floors``; shape (seeds, queries).
        optima: The best score there is, as reported, shape (seeds,).
        by_name: What each contestant came to.
    """

    benchmark: Benchmark
    floors: NDArray[np.float64]
    optima: NDArray[np.float64]
    by_name: Mapping[str, Standing]


def compare(
    benchmark: Benchmark,
    names: Sequence[str],
    *,
    queries: Sequence[int],
    seeds: int,
    progress: Callable[[int], None],
) -> Standings:
    """Run every contestant for every seed from 0.

    Args:
        benchmark: The table and its limits.
        names: Strategies, beside those that are always shown.
        queries: After how many they are judged, ascending; the last is their budget.
        seeds: How many.
        progress: Told after each seed how many are done.

    Raises:
        NasError: If a strategy cannot be used.
    """
    taking_part: Sequence[Contestant] = contestants(names, benchmark)
    by_name = {contestant.name: Standing(seeds, queries) for contestant in taking_part}
    floors, optima = np.zeros((seeds, len(queries))), np.zeros(seeds)
    for seed in range(seeds):
        draw = benchmark.draw(seed)
        floors[seed], optima[seed] = benchmark.floors(draw, queries), draw.optimum
        for contestant in taking_part:
            strategy = contestant.make(benchmark, queries[-1])
            outcome = run(strategy, benchmark, draw, seed=seed, queries=queries)
            by_name[contestant.name].enter(seed, outcome, draw)
        progress(seed + 1)
    return Standings(benchmark, floors, optima, by_name)


@final
@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds with its standard error."""

    mean: float
    stderr: float

    @classmethod
    def of(cls, values: NDArray[np.float64] | NDArray[np.int64]) -> "Mean":
        """The mean of one number per seed, of at least two."""
        return cls(float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5))


@final
@dataclass(frozen=True, slots=True)
class Difference:
    """Paired differences, one per seed.

    Attributes:
        mean: Negative where the first is better, if they are of regrets.
        low: Lower end of the interval that holds the mean difference with 95 % confidence.
        high: Its upper end.
        p_value: Two-sided, of no difference.
    """

    mean: float
    low: float
    high: float
    p_value: float

    @classmethod
    def of(cls, first: NDArray[np.float64], second: NDArray[np.float64]) -> "Difference":
        """By Student's t on the differences."""
        found = Mean.of(first - second)
        if found.stderr == 0:
            return cls(found.mean, found.mean, found.mean, 1.0 if found.mean == 0 else 0.0)
        freedom = len(first) - 1
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * found.stderr
        p_value = 2 * float(stats.t.sf(abs(found.mean) / found.stderr, freedom))
        return cls(found.mean, found.mean - half, found.mean + half, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for that many tests, in the same order.

    Source: Holm, A simple sequentially rejective multiple test procedure (Scandinavian Journal of
    Statistics 6, 1979): the smallest of m is multiplied by m, the next by m - 1 and so on, and
    none is adjusted to less than one before it.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for step, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[at]))
        adjusted[at] = largest
    return adjusted
