"""What a running search shows: one line per finished trial, on stderr."""

import time
from typing import Protocol, final

from nas.engine import Observer
from nas.finalists import FINALISTS, FRESH_SEEDS, Audience, Finalist
from nas.limits import format_quantity
from nas.terminal import say
from nas.trial import Trial

TRACE_LINES = 12


class Progress(Observer, Audience, Protocol):
    """Is told of every trial and every finalist."""


@final
class Silent(Progress):
    """Shows nothing."""

    def finished(self, trial: Trial, best: Trial | None, started: int) -> None:
        """Do nothing."""

    def rescored(self, finalist: Finalist) -> None:
        """Do nothing."""


@final
class Lines(Progress):
    """One line per trial that was trained, and one per finalist.

    Args:
        budget: Trials the run will start.
        objective: The metric to show.
    """

    def __init__(self, budget: int, objective: str) -> None:
        self._budget = budget
        self._objective = objective
        self._begin = time.monotonic()
        self._free = 0
        self._traced = False

    def finished(self, trial: Trial, best: Trial | None, started: int) -> None:
        """Show a trial; those that cost nothing are counted with the next one."""
        if trial.state in {"infeasible", "duplicate"}:
            self._free += 1
            return
        cost = f"{format_quantity(trial.params):>6} params {format_quantity(trial.macs):>6} MACs"
        if trial.metrics:
            result = f"{self._objective} {trial.metrics[self._objective]:.4f}"
        else:
            result = f"{trial.state}: {trial.cause}: {trial.message}"[:100]
        found = "" if best is None else f"  best {best.metrics[self._objective]:.4f}"
        free = f"  ({self._free} known or infeasible)" if self._free else ""
        self._free = 0
        seconds = time.monotonic() - self._begin
        # After the budget the best few are trained again.
        left = seconds / started * (self._budget - started + FINALISTS * FRESH_SEEDS)
        say(
            f"[{started:>{len(str(self._budget))}}/{self._budget}] {result}  {cost} "
            f"{trial.seconds:5.1f} s{found}  {left / 60:.1f} min left{free}"
        )
        if trial.trace and not self._traced:  # the first one; the record has them all
            self._traced = True
            for line in trial.trace.splitlines()[-TRACE_LINES:]:
                say(f"    {line}")

    def rescored(self, finalist: Finalist) -> None:
        """Show a finalist."""
        scores = ", ".join(f"{score:.4f}" for score in finalist.scores)
        say(
            f"finalist trial {finalist.trial.ordinal}: {self._objective} {finalist.mean:.4f} on "
            f"fresh seeds ({scores}), {finalist.trial.metrics[self._objective]:.4f} in the search"
        )
