"""A table with limits: what a strategy may know of it, what a query tells, what is judged."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.bench.table import Table
from nas.errors import NasError, usage_error
from nas.limits import parse_quantity
from nas.plan import rng_of
from nas.plugins import unknown
from search_spaces.genome import Genotype

# First numbers of the spawn keys: the noise is the same for all strategies of a seed, and so is the
# generator of the nth ask.
ASK, NOISE = range(2)
_KEPT = 65_536  # genotypes whose row is remembered


@final
@dataclass(frozen=True, slots=True)
class CostLimit:
    """The most that a network may cost.

    Attributes:
        cost: Which cost.
        value: In its own unit, or a quantile in (0, 1].
        is_quantile: Whether ``value`` is that quantile of the rows of a table.
    """

    cost: str
    value: float
    is_quantile: bool

    @classmethod
    def parse(cls, text: str) -> "CostLimit":
        """A limit from ``macs=25%``, ``macs=300M`` or ``latency_ms=1.5``.

        Raises:
            ValueError: If the text has another form.
        """
        cost, equals, amount = text.partition("=")
        if not (cost and equals and amount):
            raise ValueError(f"must be COST=VALUE or COST=N%, got {text[:40]!r}")
        if amount.endswith("%"):
            value = _number(amount[:-1]) / 100
            if not 0 < value <= 1:
                raise ValueError(f"quantile must be in (0 %, 100 %], got {text[:40]!r}")
            return cls(cost, value, is_quantile=True)
        value = _number(amount)
        if value <= 0:
            raise ValueError(f"limit must be above 0, got {text[:40]!r}")
        return cls(cost, value, is_quantile=False)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float(parse_quantity(text))
    if not math.isfinite(value):
        raise ValueError(f"must be finite, got {text!r}")
    return value


@final
class TableFeatures:
    """Costs and limits of a table, as ``strategies.strategy.Features`` has them.

    A genotype without a row is infeasible, and is said to cost what the nearest row costs: the
    one that differs in the fewest decisions.
    """

    def __init__(self, table: Table, feasible: NDArray[np.bool_]) -> None:
        self._table = table
        self._feasible = feasible
        self._feasible_rows = np.flatnonzero(feasible[table.networks])
        self._log_costs = np.log(table.costs) if table.cost_names else np.zeros((len(feasible), 1))
        self._networks: dict[Genotype, int | None] = {}

    def network(self, genotype: Genotype) -> int | None:
        """The network of a genotype, or None where the table has no row for it."""
        if genotype not in self._networks:
            if len(self._networks) >= _KEPT:
                self._networks.clear()
            row = self._table.row(genotype)
            self._networks[genotype] = None if row is None else int(self._table.networks[row])
        return self._networks[genotype]

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Logarithms of the costs, MACs and parameters first; a 0 where the table has none."""
        network = self.network(genotype)
        if network is None:
            rows = np.arange(len(self._table.networks))
            network = int(self._table.networks[self._nearest(genotype, rows)])
        return tuple(self._log_costs[network].tolist())

    def feasible(self, genotype: Genotype) -> bool:
        """Whether there is a row, within the limits."""
        network = self.network(genotype)
        return network is not None and bool(self._feasible[network])

    def repaired(self, genotype: Genotype) -> Genotype:
        """The feasible row that differs in the fewest decisions; of several, the first."""
        return self._table.genotype(self._nearest(genotype, self._feasible_rows))

    def _nearest(self, genotype: Genotype, rows: NDArray[np.int64]) -> int:
        codes = self._table.genome.encode(genotype)
        distance = np.count_nonzero(self._table.codes[rows] != codes, axis=1)
        return int(rows[distance.argmin()])


@final
@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What one seed makes of a table; the same for every strategy.

    Attributes:
        told: What a query of each network tells, shape (networks,).
        reported: What each is judged by; minus infinity where it is infeasible.
        optimum: The largest of these.
    """

    told: NDArray[np.float64]
    reported: NDArray[np.float64]
    optimum: float

    def regret(self, network: int) -> float:
        """How far a network is below the optimum, at least 0."""
        return self.optimum - float(self.reported[network])

    def rank(self, network: int) -> int:
        """1 for the optimum, else 1 + how many are better."""
        return 1 + int(np.count_nonzero(self.reported > self.reported[network]))


@final
class Benchmark:
    """A table with limits.

    Attributes:
        table: The table.
        limits: Resolved, by cost.
        feasible: Which networks are within them.
        features: What strategies are given, or None where there is nothing to say: no costs and
            no missing rows.
    """

    def __init__(self, table: Table, limits: Iterable[CostLimit] = ()) -> None:
        """Apply limits.

        Raises:
            NasError: If there is no such cost, or a limit is given twice (exit code 2); or no
                network is within the limits (3).
        """
        self.table = table
        self.limits: Mapping[str, float] = _resolved(table, limits)
        at_most = np.array([self.limits.get(name, math.inf) for name in table.cost_names])
        self.feasible: NDArray[np.bool_] = np.all(table.costs <= at_most, axis=1)
        if not self.feasible.any():
            least = ", ".join(
                f"{name} {table.costs[:, table.cost_names.index(name)].min():g}"
                for name in self.limits
            )
            raise NasError(
                f"{table.name}: no network is within the limits; the least are {least}: "
                "raise the limits",
                exit_code=3,
            )
        self._lookup = TableFeatures(table, self.feasible)
        says_something = bool(table.cost_names) or not table.complete
        self.features = self._lookup if says_something else None
        self._only_draw = self._drawn(np.zeros(len(self.feasible), dtype=np.int64))

    def feasible_network(self, genotype: Genotype) -> int | None:
        """The network of a genotype, or None if it has no row or is beyond the limits."""
        network = self._lookup.network(genotype)
        return network if network is not None and self.feasible[network] else None

    def floors(self, draw: Draw, queries: Sequence[int]) -> list[float]:
        """Regret of who asks exactly the truly best networks and then trusts what it was told.

        That is what the noise of one run costs anybody who recommends by it, after each number of
        queries; the truth is the mean of all runs. A strategy that averages over similar networks
        can do better.
        """
        best = np.flatnonzero(self.feasible)
        best = best[np.argsort(-self.table.told[best].mean(axis=1), kind="stable")]
        told = draw.told[best[: queries[-1]]]
        return [draw.regret(int(best[told[:count].argmax()])) for count in queries]

    def draw(self, seed: int) -> Draw:
        """What ``seed`` makes of the table: which run each network tells."""
        draws = self.table.told.shape[1]
        if draws == 1:
            return self._only_draw
        return self._drawn(rng_of(seed, NOISE).integers(draws, size=len(self.feasible)))

    def _drawn(self, runs: NDArray[np.int64]) -> Draw:
        everything = np.arange(len(runs))
        told = self.table.told[everything, runs]
        reported = np.where(self.feasible, self.table.reported[everything, runs], -math.inf)
        return Draw(told, reported, float(reported.max()))


def _resolved(table: Table, limits: Iterable[CostLimit]) -> dict[str, float]:
    resolved: dict[str, float] = {}
    for limit in limits:
        if limit.cost not in table.cost_names:
            raise usage_error(f"--max-cost: {table.name}: {unknown(limit.cost, table.cost_names)}")
        if limit.cost in resolved:
            raise usage_error(f"--max-cost: {limit.cost} must be given once, got it twice")
        costs = table.costs[table.networks, table.cost_names.index(limit.cost)]
        value = float(np.quantile(costs, limit.value)) if limit.is_quantile else limit.value
        resolved[limit.cost] = value
    return resolved
