"""What a comparison found, as a JSON document and as text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nas.bench.comparison import Difference, Mean, Scores, Standings, holm
from strategies import DEFAULT_STRATEGY

SCHEMA_VERSION = 1


def document(
    comparisons: Sequence[Standings], *, queries: Sequence[int], seeds: int
) -> dict[str, Any]:
    """Everything for scripts; ``docs/bench.md`` says what each figure is."""
    return {
        "schema_version": SCHEMA_VERSION,
        "default": DEFAULT_STRATEGY,
        "tables": [_table(standings) for standings in comparisons],
        "results": [
            row for standings in comparisons for row in _results(standings, queries, seeds)
        ],
        "paired": _paired(comparisons, queries, seeds),
    }


def _table(standings: Standings) -> dict[str, Any]:
    benchmark, floor = standings.benchmark, Mean.of(standings.floors)
    return {
        "table": benchmark.table.name,
        "metric": benchmark.table.metric,
        "genotypes": str(benchmark.table.genome.size),
        "rows": len(benchmark.table.networks),
        "networks": len(benchmark.feasible),
        "feasible": int(benchmark.feasible.sum()),
        "limits": dict(benchmark.limits),
        "optimum_mean": Mean.of(standings.optima).mean,
        "floor_mean": floor.mean,
        "floor_stderr": floor.stderr,
    }


def _results(standings: Standings, queries: Sequence[int], seeds: int) -> list[dict[str, Any]]:
    return [
        {
            "table": standings.benchmark.table.name,
            "strategy": name,
            "queries": count,
            "seeds": seeds,
            **_judged(standing.recommended, at),
            "seconds_per_ask": standing.seconds_per_ask,
            "ended_early": standing.ended_early,
            "best_told": _judged(standing.best_told, at),
        }
        for name, standing in standings.by_name.items()
        for at, count in enumerate(queries)
    ]


def _judged(scores: Scores, at: int) -> dict[str, float]:
    regret, rank = Mean.of(scores.regrets[:, at]), Mean.of(scores.ranks[:, at])
    optimum = Mean.of(scores.optima[:, at])
    return {
        "regret_mean": regret.mean,
        "regret_stderr": regret.stderr,
        "rank_mean": rank.mean,
        "rank_stderr": rank.stderr,
        "optimum_share": optimum.mean,
        "optimum_stderr": optimum.stderr,
    }


def _paired(
    comparisons: Sequence[Standings], queries: Sequence[int], seeds: int
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    others = dict.fromkeys(name for standings in comparisons for name in standings.by_name)
    for other in [name for name in others if name != DEFAULT_STRATEGY]:
        for at, count in enumerate(queries):
            against = [
                (
                    standings.benchmark.table.name,
                    Difference.of(
                        standings.by_name[DEFAULT_STRATEGY].recommended.regrets[:, at],
                        standings.by_name[other].recommended.regrets[:, at],
                    ),
                )
                for standings in comparisons
                if other in standings.by_name
            ]
            adjusted = holm([difference.p_value for _, difference in against])
            rows += [
                {
                    "table": table,
                    "strategy": DEFAULT_STRATEGY,
                    "other": other,
                    "queries": count,
                    "seeds": seeds,
                    "difference_mean": difference.mean,
                    "difference_low": difference.low,
                    "difference_high": difference.high,
                    "p_value": difference.p_value,
                    "p_holm": p_holm,
                }
                for (table, difference), p_holm in zip(against, adjusted, strict=True)
            ]
    return rows


def text(found: Mapping[str, Any]) -> str:
    """The document for people: for each table regrets, ranks, chances, then differences."""
    return "\n\n".join(_table_text(found, table) for table in found["tables"])


def _table_text(found: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    results = [row for row in found["results"] if row["table"] == table["table"]]
    paired = [row for row in found["paired"] if row["table"] == table["table"]]
    queries = list(dict.fromkeys(row["queries"] for row in results))
    limits = "".join(f", {name} at most {value:g}" for name, value in table["limits"].items())
    lines = [
        f"{table['table']}: {table['feasible']:,} of {table['networks']:,} networks{limits}",
        f"optimum {table['optimum_mean']:.4f} {table['metric']}, {results[0]['seeds']} seeds",
        f"floor of what is told {table['floor_mean']:.4f} +- {table['floor_stderr']:.4f}",
        "",
        *_grid("regret of the recommended", results, queries, _regret),
        "",
        *_grid("  of the best by what was told", results, queries, _told_regret),
        "",
        *_grid("rank of the recommended", results, queries, _rank),
        "",
        *_grid("chance of the optimum", results, queries, _chance),
        "",
        *_grid(f"{found['default']} minus", paired, queries, _difference),
        "",
        "milliseconds per ask: "
        + ", ".join(
            f"{row['strategy']} {1000 * row['seconds_per_ask']:.3g}"
            for row in results
            if row["queries"] == queries[0]
        ),
    ]
    return "\n".join(lines + _ended_early(results, queries))


def _grid(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    queries: Sequence[int],
    cell: Callable[[Mapping[str, Any]], str],
) -> list[str]:
    """A line for each strategy, a column for each number of queries."""
    cells: dict[str, list[str]] = {title: [str(count) for count in queries]}
    for row in rows:
        cells.setdefault(row.get("other", row["strategy"]), []).append(cell(row))
    label = max(map(len, cells))
    width = max(len(text) for texts in cells.values() for text in texts)
    return [
        f"{name:<{label}}" + "".join(f"  {text:>{width}}" for text in texts)
        for name, texts in cells.items()
    ]


def _regret(row: Mapping[str, Any]) -> str:
    return f"{row['regret_mean']:.4f} +- {row['regret_stderr']:.4f}"


def _told_regret(row: Mapping[str, Any]) -> str:
    return _regret(row["best_told"])


def _rank(row: Mapping[str, Any]) -> str:
    return f"{row['rank_mean']:.1f} +- {row['rank_stderr']:.1f}"


def _chance(row: Mapping[str, Any]) -> str:
    return f"{100 * row['optimum_share']:.1f} % +- {100 * row['optimum_stderr']:.1f}"


def _difference(row: Mapping[str, Any]) -> str:
    return (
        f"{row['difference_mean']:+.4f} "
        f"[{row['difference_low']:+.4f}, {row['difference_high']:+.4f}] p {row['p_holm']:.2g}"
    )


def _ended_early(results: Sequence[Mapping[str, Any]], queries: Sequence[int]) -> list[str]:
    return [
        f"{row['strategy']} had nothing more to ask before {queries[-1]} queries in "
        f"{row['ended_early']} of {row['seeds']} seeds; its last recommendation stands"
        for row in results
        if row["queries"] == queries[-1] and row["ended_early"]
    ]
