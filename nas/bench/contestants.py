"""Who takes part: strategies by name and options, and baselines that are always shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nas import plugins
from nas.bench import peers
from nas.bench.benchmark import Benchmark
from nas.errors import usage_error
from search_spaces.genome import Genome, Genotype
from search_spaces.strict_json import JsonError, loads
from strategies import DEFAULT_STRATEGY
from strategies.history import Proposal
from strategies.strategy import Features, Strategy

LARGEST = "largest"
RANDOM = "random"


@final
@dataclass(frozen=True, slots=True)
class Contestant:
    """One of those compared.

    Attributes:
        name: As the user wrote it.
        make: A fresh strategy for a benchmark and a budget.
    """

    name: str
    make: Callable[[Benchmark, int], Strategy]


def contestants(names: Sequence[str], benchmark: Benchmark) -> list[Contestant]:
    """The strategies asked for, then the default one, random search and the largest first.

    Args:
        names: Of strategies or peers, each with options if need be:
            ``evolution:population_size=50``.
        benchmark: Without costs in its table there is no largest.

    Raises:
        NasError: If a name or an option is unknown, or one is given twice (exit code 2).
    """
    wanted = [name for name in names if name != LARGEST]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise usage_error(f"--strategies: {twice} must be named once, got it twice")
    wanted += [name for name in (DEFAULT_STRATEGY, RANDOM) if name not in wanted]
    found = [_strategy(name) for name in wanted]
    if benchmark.table.cost_names:
        found.append(Contestant(LARGEST, LargestFirst.on))
    return found


def _strategy(text: str) -> Contestant:
    name, *settings = text.split(":")
    target = peers.load(name)
    options: dict[str, object] = {}
    for setting in settings:
        option, equals, value = setting.partition("=")
        if not (option and equals):
            raise usage_error(f"--strategies: must be NAME:OPTION=VALUE, got {text[:80]!r}")
        try:
            options[option] = loads(value)
        except JsonError:
            options[option] = value
    plugins.check_options(target, options, name)

    def make(benchmark: Benchmark, budget: int) -> Strategy:
        genome, features = benchmark.table.genome, benchmark.features
        try:
            made: Strategy = target(genome, budget, ("maximize",), features, **options)
        except (ValueError, TypeError) as error:
            raise usage_error(f"--strategies: {text[:80]}: {error}") from error
        return made

    return Contestant(text, make)


@final
class LargestFirst(Strategy):
    """The feasible network with the most MACs, then the next: a baseline that learns nothing.

    It knows what every network of a table costs, so it lives here and not among the strategies.
    Networks with equal MACs follow by the further costs, then as the genome orders them.
    """

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
        *,
        order: Sequence[Genotype],
    ) -> None:
        """Set up.

        Args:
            genome: See ``Strategy``.
            budget: See ``Strategy``.
            directions: See ``Strategy``.
            features: See ``Strategy``.
            order: One genotype per network, the most expensive first.
        """
        super().__init__(genome, budget, directions, features)
        self._order = order

    @classmethod
    def on(cls, benchmark: Benchmark, budget: int) -> "LargestFirst":
        """The baseline for a table with costs."""
        table = benchmark.table
        first = np.unique(table.networks, return_index=True)[1]
        networks = np.flatnonzero(benchmark.feasible)
        by_cost = np.lexsort((first[networks], *reversed(-table.costs[networks].T)))[:budget]
        order = [table.genotype(int(row)) for row in first[networks[by_cost]]]
        return cls(table.genome, budget, ("maximize",), benchmark.features, order=order)

    def recommend(self) -> Genotype:
        """The best told; ties: told first."""
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        """Nothing."""
        return {}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        asked = len(self.history.asked)
        return Proposal(self._order[asked]) if asked < len(self._order) else None
