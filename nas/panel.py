"""The standing of a run as a panel for the terminal."""

import time
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.status import Standing, best_line, front_lines, now
from nas.terminal import printable

WIDTH = 100  # columns, where the terminal has as many
WATCH_EVERY = 1.0  # seconds


def panel(standing: Standing) -> RenderableType:
    """Trials by state, the best one, pace, time left, and a line per worker."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(overflow="ellipsis", no_wrap=True)
    rows.add_row("trained", _bar(standing))
    states = ", ".join(f"{count:,} {state}" for state, count in standing.states.items())
    rows.add_row("trials", states or "none yet")
    if standing.rungs:
        reached = (f"{count:,} at {rung:.3g}" for rung, count in standing.rungs.items())
        rows.add_row("rungs", ", ".join(reached))
    best = ["none yet"]
    if standing.best is not None:
        best = front_lines(standing) or [best_line(standing.best, standing.objectives[0])]
    name = "front" if len(standing.objectives) > 1 else "best"
    rows.add_row(name, Text(printable("\n".join(best), keep="\n"), style="bold"))
    rows.add_row("pace", _pace(standing))
    if standing.ended:
        rows.add_row("search", Text(printable(standing.ended)))
    for name, does, seconds in standing.workers:
        rows.add_row(Text(printable(name)), f"{does}, {duration(seconds)}")
    title = Text(f"{printable(standing.name)}: {standing.phase}")
    return Panel(rows, title=title, title_align="left", width=WIDTH, border_style="dim")


def show(folder: Path, *, watch: bool) -> None:
    """Print how a run stands; with ``watch``, again and again until no process works on it.

    Raises:
        NasError: If there is no run, or it is damaged.
    """
    console = Console(highlight=False)
    standing = now(folder)
    if watch and console.is_terminal:
        with Live(panel(standing), console=console, auto_refresh=False, transient=True) as live:
            while standing.phase == "running":
                time.sleep(WATCH_EVERY)
                standing = now(folder)
                live.update(panel(standing), refresh=True)
    while watch and standing.phase == "running":
        console.print(Text(_line(standing)), soft_wrap=True)
        time.sleep(10 * WATCH_EVERY)
        standing = now(folder)
    console.print(panel(standing))
    if standing.phase in {"stopped", "paused", "failed"}:
        console.print(Text(f"go on with: nas resume {folder}"), soft_wrap=True)


def _line(standing: Standing) -> str:
    best = ""
    if standing.front:
        best = f", front of {front_lines(standing)[0]}"
    elif standing.best is not None:
        best = f", best {best_line(standing.best, standing.objectives[0])}"
    return f"{standing.trained} of {standing.budget} trained{best}; {_pace(standing)}"


def duration(seconds: float) -> str:
    """Seconds as ``12 s``, ``3:07`` (minutes) or ``2:03:07`` (hours)."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes = f"{rest // 60}:{rest % 60:02}"
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else minutes


def _bar(standing: Standing) -> RenderableType:
    line = Table.grid(padding=(0, 2))
    done = min(standing.trained, standing.budget)
    bar = ProgressBar(total=standing.budget, completed=done, width=40)
    line.add_row(bar, f"{standing.trained:,} of {standing.budget:,}")
    return line


def _pace(standing: Standing) -> str:
    parts = [f"{duration(standing.seconds)} so far"]
    if standing.per_hour is not None:
        parts.insert(0, f"{standing.per_hour:,.0f} children an hour")
    left = standing.left()
    if left and standing.phase == "running":
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)
