"""``nas bench``: from what a user asks for to a document, checked before anything runs."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from nas.bench.benchmark import Benchmark, CostLimit
from nas.bench.chart import chart
from nas.bench.comparison import compare
from nas.bench.contestants import contestants
from nas.bench.report import document
from nas.bench.table import read_table
from nas.errors import NasError, usage_error
from nas.run_folder import write_json, write_text
from nas.terminal import say

DOCUMENT = "bench.json"
MAX_QUERIES = 100_000
_SECONDS_BETWEEN_LINES = 10.0


def bench(
    tables: Sequence[Path],
    strategies: Sequence[str],
    *,
    queries: Sequence[int],
    seeds: int,
    limits: Sequence[str] = (),
    out: Path | None = None,
) -> dict[str, Any]:
    """Compare strategies on tables.

    Args:
        tables: CSV files; see ``nas.bench.table.read_table``.
        strategies: Names, with options if need be; see ``nas.bench.contestants``.
        queries: After how many networks strategies are judged; the largest is their budget.
        seeds: How many, from 0; at least 2.
        limits: Such as ``macs=25%``; they hold on every table.
        out: Folder for the document and a picture of each table, new or empty; None for none.

    Returns:
        The document of ``nas bench --json``.

    Raises:
        NasError: If a value or a table cannot be used (exit code 2), or no network of a table is
            within the limits (3), or the folder cannot be written (5).
    """
    ascending = _ascending(queries)
    if seeds < 2:
        raise usage_error(f"--seeds must be at least 2, for a standard error, got {seeds}")
    try:
        at_most = [CostLimit.parse(limit) for limit in limits]
    except ValueError as error:
        raise usage_error(f"--max-cost: {error}") from error
    benchmarks = [Benchmark(read_table(path), at_most) for path in tables]
    names = [benchmark.table.name for benchmark in benchmarks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise usage_error(f"--table: names of files must differ, got {twice} twice; rename one")
    for benchmark in benchmarks:
        for contestant in contestants(strategies, benchmark):
            contestant.make(benchmark, ascending[-1])
    if out is not None:
        _make_folder(out)
    comparisons = [
        compare(
            benchmark,
            strategies,
            queries=ascending,
            seeds=seeds,
            progress=_Lines(benchmark.table.name, seeds).finished,
        )
        for benchmark in benchmarks
    ]
    found = document(comparisons, queries=ascending, seeds=seeds)
    if out is not None:
        for table in found["tables"]:
            write_text(out / f"{table['table']}.svg", chart(found, table))
        write_json(out / DOCUMENT, found)
    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise usage_error(f"--out: {folder} is there already; choose another folder")
    except OSError as error:
        raise NasError(f"--out: cannot write {folder}: {error.strerror}", exit_code=5) from error


def _ascending(queries: Sequence[int]) -> list[int]:
    ascending = sorted(set(queries))
    if not ascending or not 1 <= ascending[0] <= ascending[-1] <= MAX_QUERIES:
        wanted = f"whole numbers in [1, {MAX_QUERIES:,}]"
        raise usage_error(f"--queries must be {wanted}, got {list(queries)}")
    return ascending


@final
class _Lines:
    """A line on stderr now and then."""

    def __init__(self, table: str, seeds: int) -> None:
        self._table = table
        self._seeds = seeds
        self._begin = self._last = time.monotonic()

    def finished(self, seeds: int) -> None:
        """Say how far it is, unless that was said a moment ago."""
        now = time.monotonic()
        if seeds < self._seeds and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        left = (now - self._begin) / seeds * (self._seeds - seeds)
        say(f"{self._table}: {seeds} of {self._seeds} seeds, {left:.0f} s left")
