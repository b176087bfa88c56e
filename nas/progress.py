"""What a running search shows: a panel on a terminal, else a line per trial; on stderr."""

import os
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from nas.finalists import Finalist
from nas.limits import format_quantity
from nas.panel import panel
from nas.plan import FRESH_SEEDS, finalists_of
from nas.record import Record
from nas.status import Standing, values_of
from nas.terminal import printable, say
from nas.trial import Trial
from nas.workers import Failure, Workers

TRACE_LINES = 12


class Progress(ABC):
    """Is shown one session: entered, told of its parts and of every trial, and left again."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Begin to show."""

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show nothing more."""

    @abstractmethod
    def begin(self, folder: Path, record: Record, workers: Workers) -> None:
        """There are workers now; record and workers may be read until the end, or until others."""

    @abstractmethod
    def started(self, key: int, title: str) -> None:
        """A job was handed to a worker."""

    @abstractmethod
    def finished(self, trial: Trial) -> None:
        """A trial that was handed out, or a duplicate of it, has its final state."""

    @abstractmethod
    def rescored(self, finalist: Finalist) -> None:
        """A finalist has all its fresh scores."""

    @abstractmethod
    def failed(self, title: str, failure: Failure) -> None:
        """A training that is no child's has failed for good."""

    @abstractmethod
    def tick(self) -> None:
        """Something may have changed."""

    @abstractmethod
    def notice(self, text: str) -> None:
        """Say one line, from within a signal handler: past locks and buffers."""


@final
class Silent(Progress):
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing."""

    def begin(self, folder: Path, record: Record, workers: Workers) -> None:
        """Do nothing."""

    def started(self, key: int, title: str) -> None:
        """Do nothing."""

    def finished(self, trial: Trial) -> None:
        """Do nothing."""

    def rescored(self, finalist: Finalist) -> None:
        """Do nothing."""

    def failed(self, title: str, failure: Failure) -> None:
        """Do nothing."""

    def tick(self) -> None:
        """Do nothing."""

    def notice(self, text: str) -> None:
        """Do nothing."""


@final
class Lines(Progress):
    """One line per trial that was trained, and one per finalist."""

    def __init__(self) -> None:
        self._record: Record | None = None
        self._begin = time.monotonic()
        self._trained_before = 0
        self._free = 0
        self._traced = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing."""

    def begin(self, folder: Path, record: Record, workers: Workers) -> None:
        """Say where the run goes on."""
        again, self._record, self._begin = self._record is not None, record, time.monotonic()
        self._trained_before = record.started - len(record.attempts)
        self._free = _free(record)
        if record.trials and not again:
            count = f"{record.started:,} of {record.budget:,} children were started before"
            say(f"{folder}: {count}; {len(record.attempts)} of them are trained again")

    def started(self, key: int, title: str) -> None:
        """Do nothing."""

    def finished(self, trial: Trial) -> None:
        """Show a trial; those that cost nothing are counted with the next one."""
        record = self._record
        if record is None or trial.state == "duplicate":
            return
        metric, budget = record.objective.metric, record.budget
        cost = f"{format_quantity(trial.params):>6} params {format_quantity(trial.macs):>6} MACs"
        if trial.metrics:  # parameters and MACs follow
            shown = [one.metric for one in record.objectives]
            result = values_of(trial, [name for name in shown if name not in {"params", "macs"}])
            if trial.reports:
                result += f" at fidelity {trial.fidelity:.3g}"
        else:
            result = f"{trial.state}: {trial.cause}: {trial.message}"[:100]
        found = "" if record.best is None else f"  best {record.best.metrics[metric]:.4f}"
        if len(record.objectives) > 1:
            found = f"  front of {len(record.front)}, hypervolume {record.hypervolume():.4f}"
        free, self._free = _free(record) - self._free, _free(record)
        beside = f"  ({free} known or infeasible)" if free else ""
        trained = record.started - len(record.attempts)
        pace = (time.monotonic() - self._begin) / max(1, trained - self._trained_before)
        # After the budget the best few are trained again.
        after = finalists_of(len(record.objectives)) * FRESH_SEEDS
        left = pace * (budget - trained + after)
        say(
            f"[{trained:>{len(str(budget))}}/{budget}] {result}  {cost} "
            f"{trial.seconds:5.1f} s{found}  {left / 60:.1f} min left{beside}"
        )
        if trial.trace and not self._traced:  # the first one; the record has them all
            self._traced = True
            for line in trace_tail(trial.trace):
                say(line)

    def rescored(self, finalist: Finalist) -> None:
        """Show a finalist."""
        if self._record is not None:
            say(_rescored(finalist, self._record))

    def failed(self, title: str, failure: Failure) -> None:
        """Say why, with the end of its traceback."""
        for line in _failed(title, failure):
            say(line)

    def tick(self) -> None:
        """Do nothing."""

    def notice(self, text: str) -> None:
        """Write it to stderr as it is."""
        with suppress(OSError):
            os.write(2, f"{text}\n".encode())


@final
class LivePanel(Progress):
    """A panel that is kept up to date, with failures and finalists above it.

    Args:
        console: Where; a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: tuple[Standing, float] | None = None
        self._notice = ""
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=4,
            transient=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._titles: dict[int, str] = {}
        self._before = 0.0, time.monotonic()
        self._run: tuple[Path, Record, Workers] | None = None
        self._traced = False

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        self._live.stop()

    def begin(self, folder: Path, record: Record, workers: Workers) -> None:
        """Begin to show a session."""
        self._run = folder, record, workers
        self._before = record.seconds, time.monotonic()
        self._note()

    def started(self, key: int, title: str) -> None:
        """Remember what a worker's job is called."""
        self._titles[key] = title
        self._note()

    def finished(self, trial: Trial) -> None:
        """Show why the first one failed; the panel has the counts."""
        if trial.state == "failed":
            line = f"trial {trial.ordinal} failed: {trial.cause}: {trial.message}"
            self._say(line[:300])
        if trial.trace and not self._traced:
            self._traced = True
            for line in trace_tail(trial.trace):
                self._say(line)
        self._note()

    def rescored(self, finalist: Finalist) -> None:
        """Show a finalist."""
        if self._run is not None:
            self._say(_rescored(finalist, self._run[1]))
        self._note()

    def failed(self, title: str, failure: Failure) -> None:
        """Show why above the panel, and that it has below."""
        lines = _failed(title, failure)
        for line in lines:
            self._say(line)
        self._notice = printable(lines[0])
        self._note()

    def tick(self) -> None:
        """Look at record and workers."""
        self._note()

    def notice(self, text: str) -> None:
        """Show it below the panel from its next drawing on."""
        self._notice = text

    def _note(self) -> None:
        """Take the figures that are shown; only the thread that works on the run may look."""
        if self._run is None:
            return
        folder, record, workers = self._run
        now = time.monotonic()
        activity = tuple(
            (
                one.worker,
                one.state if one.key is None else self._titles.get(one.key, ""),
                one.seconds,
            )
            for one in workers.activity()
        )
        standing = Standing.of(
            record,
            name=str(folder),
            phase="running",
            seconds=self._before[0] + now - self._before[1],
            workers=activity,
        )
        self._shown = standing, now

    def _render(self) -> RenderableType:
        """The panel with the clocks of this moment; the thread that draws calls it."""
        if self._shown is None:
            return Text(self._notice or "starting ...")
        standing, at = self._shown
        drawn = panel(standing.later(time.monotonic() - at))
        return Group(drawn, Text(self._notice)) if self._notice else drawn

    def _say(self, line: str) -> None:
        self._console.print(Text(printable(line)))


def for_this_terminal() -> Progress:
    """A panel if stderr is a terminal that can show one, else lines."""
    console = Console(stderr=True, file=sys.stderr)
    if console.is_terminal and not console.is_dumb_terminal:
        return LivePanel(console)
    return Lines()


def trace_tail(trace: str) -> list[str]:
    """The last lines of a traceback, indented."""
    return [f"    {line}" for line in trace.splitlines()[-TRACE_LINES:]]


def _failed(title: str, failure: Failure) -> list[str]:
    """Why a training has failed: a line, and the end of its traceback."""
    line = f"{title} failed: {failure.cause}: {failure.message}"
    return [line[:300], *trace_tail(failure.trace)]


def _free(record: Record) -> int:
    """Trials that cost nothing."""
    states = record.states()
    return states["infeasible"] + states["duplicate"]


def _rescored(finalist: Finalist, record: Record) -> str:
    scores = ", ".join(f"{score:.4f}" for score in finalist.scores)
    guide = record.objective.metric
    name = "" if guide == finalist.metric else f"{guide} "
    return (
        f"finalist trial {finalist.trial.ordinal}: {finalist.metric} {finalist.mean:.4f} on "
        f"fresh seeds ({scores}), {name}{finalist.trial.metrics[guide]:.4f} in the search"
    )
