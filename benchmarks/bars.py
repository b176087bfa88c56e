"""The default strategy and its peers on NAS-Bench-Macro, seed by seed.

    python benchmarks/bars.py FOLDER_WITH_TABLES benchmarks/results --case noisy --seeds 200
    python benchmarks/bars.py FOLDER_WITH_TABLES benchmarks/results --case noisy --seeds 10 \
        --strategies optuna-gp

``limits`` is 20 queries with MACs at most at the 25, 50 and 75 % quantile, ``exact`` 100 queries
without a limit, ``noisy`` the same where one of three runs is told. All strategies see the same
seeds, so that differences are paired. What was run before is kept: a strategy that takes long can
be added, with fewer seeds, and what stops is gone on with.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.bench.benchmark import Benchmark, CostLimit
from nas.bench.comparison import Difference, Mean
from nas.bench.contestants import contestants
from nas.bench.runner import run
from nas.bench.table import read_table
from strategies import DEFAULT_STRATEGY

EXACT, NOISY = "nas_bench_macro.csv.gz", "nas_bench_macro_noisy.csv.gz"
CASES: Mapping[str, tuple[str, Sequence[str], Sequence[int]]] = {
    "limits": (EXACT, ("macs=25%", "macs=50%", "macs=75%"), (20,)),
    "exact": (EXACT, ("none",), (50, 100)),
    "noisy": (NOISY, ("none",), (50, 100)),
}
PEERS = (
    DEFAULT_STRATEGY,
    "random",
    "evolution",
    "evolution:population_size=50:tournament_size=10",
    "evolution:population_size=20:tournament_size=5",
    "evolution:population_size=10:tournament_size=3",
    "reinforce",
    "reinforce:learning_rate=0.05",
    "reinforce:learning_rate=0.1:batch_size=1",
    "local",
    "tpe",
)
SEEDS_BETWEEN_WRITES = 10

Regrets = dict[str, dict[str, list[list[float]]]]  # by limit and strategy: seeds, then queries


def add(
    regrets: Regrets,
    benchmarks: Mapping[str, Benchmark],
    names: Sequence[str],
    *,
    queries: Sequence[int],
    seed: int,
) -> None:
    """Run one seed of every strategy that has not got so far."""
    for limit, benchmark in benchmarks.items():
        draw = benchmark.draw(seed)
        for contestant in contestants(names, benchmark):
            if contestant.name not in names:  # it is always there
                continue
            found = regrets[limit].setdefault(contestant.name, [])
            if len(found) == seed:
                strategy = contestant.make(benchmark, queries[-1])
                outcome = run(strategy, benchmark, draw, seed=seed, queries=queries)
                found.append([round(draw.regret(one), 4) for one in outcome.recommended])


def rows(regrets: Regrets, queries: Sequence[int]) -> tuple[list[Any], list[Any]]:
    """Means of all; and the default's and each kind's own default minus the others, in pairs."""
    results, paired = [], []
    for limit, by_name in regrets.items():
        for at, count in enumerate(queries):
            column = {name: np.array(found)[:, at] for name, found in by_name.items()}
            for name, values in column.items():
                mean = Mean.of(values)
                place = {"limit": limit, "queries": count, "strategy": name}
                stated = {
                    "regret_mean": round(mean.mean, 4),
                    "regret_stderr": round(mean.stderr, 4),
                }
                results.append({**place, "seeds": len(values), **stated})
            for first in (DEFAULT_STRATEGY, "evolution", "reinforce"):
                others = [other for other in column if other != first and first in column]
                if first != DEFAULT_STRATEGY:
                    others = [one for one in others if one.startswith(("random", f"{first}:"))]
                for other in others:
                    both = min(len(column[first]), len(column[other]))
                    found = Difference.of(column[first][:both], column[other][:both])
                    place = {"limit": limit, "queries": count, "strategy": first, "other": other}
                    stated = {
                        "difference_mean": round(found.mean, 4),
                        "difference_low": round(found.low, 4),
                        "difference_high": round(found.high, 4),
                        "p_value": float(f"{found.p_value:.2g}"),
                    }
                    paired.append({**place, "seeds": both, **stated})
    return results, paired


def write(path: Path, case: str, regrets: Regrets) -> None:
    """Write everything, a row or a strategy a line."""
    results, paired = rows(regrets, CASES[case][2])

    def lines(entries: Sequence[str]) -> str:
        return "\n" + ",\n".join(entries) + "\n"

    by_limit = [
        f'"{limit}": {{'
        + lines([f"{json.dumps(name)}: {json.dumps(found)}" for name, found in by_name.items()])
        + "}"
        for limit, by_name in regrets.items()
    ]
    parts = [
        f'"case": "{case}", "default": "{DEFAULT_STRATEGY}"',
        f'"results": [{lines([json.dumps(row) for row in results])}]',
        f'"paired": [{lines([json.dumps(row) for row in paired])}]',
        f'"regrets": {{{lines(by_limit)}}}',
    ]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def main() -> None:
    """Run one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--strategies", default=",".join(PEERS))
    options = parser.parse_args()
    path: Path = options.results / f"macro_{options.case}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    file, limits, queries = CASES[options.case]
    table = read_table(options.tables / file)
    benchmarks = {
        limit: Benchmark(table, [] if limit == "none" else [CostLimit.parse(limit)])
        for limit in limits
    }
    regrets: Regrets = {limit: {} for limit in limits}
    if path.exists():
        regrets = json.loads(path.read_text())["regrets"]
    names = options.strategies.split(",")
    for seed in range(options.seeds):
        add(regrets, benchmarks, names, queries=queries, seed=seed)
        if seed > 0 and ((seed + 1) % SEEDS_BETWEEN_WRITES == 0 or seed + 1 == options.seeds):
            write(path, options.case, regrets)


if __name__ == "__main__":
    main()
