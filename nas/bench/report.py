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
        "tables": [_table(standings, queries) for standings in comparisons],
        "results": [
            row for standings in comparisons for row in _results(standings, queries, seeds)
        ],
        "paired": _paired(comparisons, queries, seeds),
    }


def _table(standings: Standings, queries: Sequence[int]) -> dict[str, Any]:
    benchmark = standings.benchmark
    floors = [Mean.of(standings.floors[:, at]) for at in range(len(queries))]
    return {
        "table": benchmark.table.name,
        "metric": benchmark.table.metric,
        "genotypes": str(benchmark.table.genome.size),
        "rows": len(benchmark.table.networks),
        "networks": len(benchmark.feasible),
        "feasible": int(benchmark.feasible.sum()),
        "limits": dict(benchmark.limits),
        "optimum_mean": Mean.of(standings.optima).mean,
        "floors": [
            {"queries": count, "regret_mean": floor.mean, "regret_stderr": floor.stderr}
            for count, floor in zip(queries, floors, strict=True)
        ],
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
    floors = [{"strategy": "(floor)", **row} for row in table["floors"]]
    queries = [row["queries"] for row in floors]
    best_told = [{**row, **row["best_told"]} for row in results]
    sections = [
        [_heading(table, results[0]["seeds"])],
        _grid("regret of the recommended", [*results, *floors], queries, _regret),
        _grid("  of the best by what was told", best_told, queries, _regret),
        _grid("rank of the recommended", results, queries, _rank),
        _grid("chance of the optimum, %", results, queries, _chance),
        _grid(f"{found['default']} minus", paired, queries, _difference),
        ["* differs from 0: p < 0.05, by Holm over all tables", _times(results)],
        _ended_early(results, queries),
    ]
    if all(_regret(row) == _regret(told) for row, told in zip(results, best_told, strict=True)):
        sections[2] = ["the best by what was told is the recommended one in all of them"]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _heading(table: Mapping[str, Any], seeds: int) -> str:
    limits = "".join(f", {name} at most {value:,.10g}" for name, value in table["limits"].items())
    counts = f"{table['feasible']:,} of {table['networks']:,} networks{limits}"
    return (
        f"{table['table']}: {counts}; {seeds} seeds; "
        f"best {table['metric']} {table['optimum_mean']:.4f}"
    )


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
    lines = [
        f"{name:<{label}}" + "".join(f"  {text:>{width}}" for text in texts)
        for name, texts in cells.items()
    ]
    return [line.rstrip() for line in lines]


def _regret(row: Mapping[str, Any]) -> str:
    return f"{row['regret_mean']:.4f} +- {row['regret_stderr']:.4f}"


def _rank(row: Mapping[str, Any]) -> str:
    return f"{row['rank_mean']:.1f} +- {row['rank_stderr']:.1f}"


def _chance(row: Mapping[str, Any]) -> str:
    return f"{100 * row['optimum_share']:.1f} +- {100 * row['optimum_stderr']:.1f}"


def _difference(row: Mapping[str, Any]) -> str:
    interval = f"[{row['difference_low']:+.4f}, {row['difference_high']:+.4f}]"
    return f"{row['difference_mean']:+.4f} {interval}{'*' if row['p_holm'] < 0.05 else ' '}"


def _times(results: Sequence[Mapping[str, Any]]) -> str:
    times = {row["strategy"]: f"{1000 * row['seconds_per_ask']:.3g}" for row in results}
    return "milliseconds an ask: " + ", ".join(f"{name} {time}" for name, time in times.items())


def _ended_early(results: Sequence[Mapping[str, Any]], queries: Sequence[int]) -> list[str]:
    return [
        f"{row['strategy']} had nothing more to ask before {queries[-1]} queries in "
        f"{row['ended_early']} of {row['seeds']} seeds; its last recommendation stands"
        for row in results
        if row["queries"] == queries[-1] and row["ended_early"]
    ]
