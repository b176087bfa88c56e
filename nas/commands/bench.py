"""``nas bench``."""

from pathlib import Path
from typing import Annotated

import typer

from nas.bench import peers
from nas.commands.flags import JsonFlag, answer
from nas.errors import usage_error
from nas.terminal import stdout_kept
from search_spaces.strict_json import dumps
from strategies import DEFAULT_STRATEGY


def bench(  # noqa: PLR0913 - one parameter per flag
    *,
    table: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="CSV of networks, may be gzipped; again for several."),
    ],
    strategies: Annotated[
        str, typer.Option(metavar="A,B,...", help="See `nas strategies`; NAME:OPTION=VALUE.")
    ] = DEFAULT_STRATEGY,
    queries: Annotated[
        str, typer.Option(metavar="N,N,...", help="Judge after that many; the last is the budget.")
    ] = "10,20,50,100",
    seeds: Annotated[int, typer.Option(help="Repeats, the same ones for all.")] = 200,
    max_cost: Annotated[
        list[str] | None,
        typer.Option(metavar="COST=VALUE", help="macs=300M, or macs=25% for that quantile."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for bench.json and plots, new or empty.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Compare strategies on published tables of networks."""
    names = _parts(strategies, "--strategies")
    counts = _parts(queries, "--queries")
    if not all(count.isdecimal() and len(count) < 10 for count in counts):
        raise usage_error(f"--queries must be whole numbers such as 10,20,50, got {queries[:80]!r}")
    for name in names:  # a misspelt name is told before tables are read
        if name != "largest":
            peers.load(name.partition(":")[0])
    from nas.bench import command, report  # noqa: PLC0415 - numpy and scipy

    with stdout_kept():
        found = command.bench(
            table,
            names,
            queries=[int(count) for count in counts],
            seeds=seeds,
            limits=max_cost if max_cost is not None else [],
            out=out,
        )
    answer(dumps(found, indent=2) if json else report.text(found))


def _parts(text: str, flag: str) -> list[str]:
    """What stands between commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise usage_error(f"{flag} must be names or numbers between commas, got {text[:80]!r}")
    return parts
