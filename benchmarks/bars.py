"""The default strategy and its peers on NAS-Bench-Macro, and which of the bars they keep.

    python benchmarks/bars.py FOLDER_WITH_TABLES benchmarks/results/macro_noisy.json \
        --case noisy --seeds 200 --gp-seeds 20

``--case limits`` is 20 queries with MACs at most at the 25, 50 and 75 % quantile, ``exact`` 100
queries without a limit, ``noisy`` the same where one of three runs is told. All strategies see the
same seeds, so that differences are paired. The document is written again every few seeds, and says
how many there were; Optuna's process, which takes seconds an ask, has fewer.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from nas.bench.benchmark import Benchmark, CostLimit
from nas.bench.comparison import Difference, Mean
from nas.bench.contestants import contestants
from nas.bench.runner import run
from nas.bench.table import read_table
from strategies import DEFAULT_STRATEGY

EXACT, NOISY = "nas_bench_macro.csv.gz", "nas_bench_macro_noisy.csv.gz"
GP = "optuna-gp"
EVOLUTIONS = [
    f"evolution:population_size={population}:tournament_size={tournament}"
    for population, tournament in ((50, 10), (20, 5), (10, 3))
]
REINFORCES = ["reinforce:learning_rate=0.05", "reinforce:learning_rate=0.1:batch_size=1"]
PEERS = ["random", "evolution", *EVOLUTIONS, "reinforce", *REINFORCES, "local", "tpe"]
CASES: Mapping[str, tuple[str, Sequence[str | None], Sequence[int], Sequence[str]]] = {
    "limits": (EXACT, ["macs=25%", "macs=50%", "macs=75%"], [20], PEERS),
    "exact": (EXACT, [None], [50, 100], PEERS),
    "noisy": (NOISY, [None], [50, 100], PEERS),
}
SEEDS_BETWEEN_WRITES = 10

Regrets = dict[tuple[str, str], list[list[float]]]  # by limit and strategy, then seed and queries


def row_of(limit: str, name: str, regrets: Sequence[Sequence[float]], count: int, at: int) -> Any:
    """Mean regret after one number of queries."""
    found = Mean.of(np.array(regrets)[:, at])
    return {
        "limit": limit,
        "strategy": name,
        "queries": count,
        "seeds": len(regrets),
        "regret_mean": round(found.mean, 5),
        "regret_stderr": round(found.stderr, 5),
    }


def pair_of(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Difference over the seeds that both have, with its interval and one-sided p-value."""
    both = min(len(first), len(second))
    found = Difference.of(np.array(first[:both]), np.array(second[:both]))
    half = (found.high - found.low) / 2
    error = half / float(stats.t.ppf(0.975, both - 1))
    p_less = float(stats.t.cdf(found.mean / error, both - 1)) if error > 0 else 1.0
    return {
        "seeds": both,
        "difference_mean": round(found.mean, 5),
        "difference_low": round(found.low, 5),
        "difference_high": round(found.high, 5),
        "p_less": float(f"{p_less:.2g}"),
    }


def document(case: str, queries: Sequence[int], regrets: Regrets) -> dict[str, Any]:
    """Means of all, and pairs: the default and each kind's own default against the others."""
    results, paired = [], []
    for at, count in enumerate(queries):
        for (limit, name), values in regrets.items():
            results.append(row_of(limit, name, values, count, at))
            for first in dict.fromkeys((DEFAULT_STRATEGY, "evolution", "reinforce")):
                one = regrets.get((limit, first))
                against = first == DEFAULT_STRATEGY or name.startswith((f"{first}:", "random"))
                if one is None or name == first or not against:
                    continue
                pair = pair_of([seed[at] for seed in one], [seed[at] for seed in values])
                paired.append(
                    {"limit": limit, "strategy": first, "other": name, "queries": count, **pair}
                )
    return {"case": case, "default": DEFAULT_STRATEGY, "results": results, "paired": paired}


def main() -> None:
    """Run one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--gp-seeds", type=int, default=0, help="of Optuna's process")
    parser.add_argument("--only", default=None, help="strategies between commas")
    options = parser.parse_args()
    file, limits, queries, names = CASES[options.case]
    if options.only is not None:
        names = options.only.split(",")
    table = read_table(options.tables / file)
    regrets: Regrets = {}
    for seed in range(options.seeds):
        for limit in limits:
            benchmark = Benchmark(table, [] if limit is None else [CostLimit.parse(limit)])
            draw = benchmark.draw(seed)
            taking_part = [*names, *([GP] if seed < options.gp_seeds else [])]
            for contestant in contestants(taking_part, benchmark):
                strategy = contestant.make(benchmark, queries[-1])
                outcome = run(strategy, benchmark, draw, seed=seed, queries=queries)
                found = [draw.regret(network) for network in outcome.recommended]
                key = ("none" if limit is None else limit, contestant.name)
                regrets.setdefault(key, []).append(found)
        if seed > 0 and (seed + 1) % SEEDS_BETWEEN_WRITES == 0:
            write(options.out, document(options.case, queries, regrets))
    write(options.out, document(options.case, queries, regrets))


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write a document, one row a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f'"{name}": '
        + (
            json.dumps(value)
            if isinstance(value, str)
            else "[\n" + ",\n".join(json.dumps(row) for row in value) + "\n]"
        )
        for name, value in found.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
