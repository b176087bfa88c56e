"""What works through the stages of a run: workers, their jobs, the clock."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, final

from estimators.estimator import Estimator
from nas.execution import Execution, workers_for
from nas.finalists import Rescoring
from nas.interrupts import Interrupted, Interrupts
from nas.journal import Journal
from nas.preparation import Prepared
from nas.progress import Progress
from nas.record import Record
from nas.trial import Trial
from nas.workers import Job, Outcome, Workers

if TYPE_CHECKING:
    from nas.ray_session import RaySession
    from nas.study import StudyMirror

TICK = 0.5  # seconds between looks at the clock and at signals
MOMENT = 0.02  # seconds without an outcome after which there is time to foresee the next ask
SYNC_EVERY = 1.0  # seconds between writes of the study


class Stage(Protocol):
    """Part of a run that needs workers: the search, fresh scores, what follows them."""

    @property
    def over(self) -> bool:
        """Whether no job is in hand and none will come."""
        ...

    def next_job(self) -> Job | None:
        """The next job to hand out; None if one in hand has to be settled first, or all is done."""
        ...

    def settle(self, outcome: Outcome) -> list[Trial]:
        """Take what became of a job; the trials that are done by it."""
        ...

    def title(self, key: int) -> str:
        """What a job is, for the eye."""
        ...


@final
class Driver:
    """Works through the stages of a run with workers, until they are over or the time is.

    Args:
        folder: The run folder.
        prepared: All that the run needs.
        execution: How to carry it out.
        record: Of the run; the journal keeps it up to date.
        journal: Receives what the stages do.
        mirror: The study, to be kept up to date meanwhile; None for none.
        progress: Is shown everything.
        interrupts: Entered; says when to stop.
        ray: Where workers are to be, started or not; None to train in this process.
        begin: When the session began, in seconds of ``time.monotonic``.
    """

    def __init__(  # noqa: PLR0913 - what a session has
        self,
        folder: Path,
        prepared: Prepared,
        execution: Execution,
        *,
        record: Record,
        journal: Journal,
        mirror: "StudyMirror | None",
        progress: Progress,
        interrupts: Interrupts,
        ray: "RaySession | None",
        begin: float,
    ) -> None:
        self._folder, self._prepared, self._execution = folder, prepared, execution
        self._record, self._journal, self._mirror = record, journal, mirror
        self._progress, self._interrupts = progress, interrupts
        self._ray = ray
        self._begin = begin
        self._synced = 0.0

    @property
    def is_here(self) -> bool:
        """Whether workers compute on this machine."""
        return self._ray is None or self._ray.here

    def left(self) -> float:
        """Seconds until the time limit; infinite without one."""
        hours = self._execution.max_hours
        return math.inf if hours is None else 3600 * hours - (time.monotonic() - self._begin)

    def time_is_up(self, reserve: float = 0.0) -> str:
        """Why nothing is to be started any more, or nothing.

        Args:
            reserve: Seconds before the time limit that are kept for what comes later.
        """
        if self.left() > reserve:
            return ""
        limit = f"time limit of {self._execution.max_hours:g} h"
        return f"{limit}: the rest is for the winner" if reserve else f"{limit} reached"

    def workers(
        self, estimator: Estimator, *, most: int | None = None, timed: bool = True
    ) -> AbstractContextManager[Workers]:
        """Workers of this session, that score by an estimator.

        Args:
            estimator: Prepared.
            most: Jobs at a time that there can be; None for as many as the budget.
            timed: Whether one that takes far longer than the others is killed.
        """
        return workers_for(
            estimator,
            self._prepared,
            self._execution if timed else replace(self._execution, child_timeout=math.inf),
            most=self._prepared.plan.budget if most is None else most,
            ray=self._ray,
            interrupts=self._interrupts,
        )

    def drive(
        self,
        stage: Stage,
        workers: Workers,
        *,
        until: Callable[[], str] = lambda: "",
        idle: Callable[[], bool] = lambda: False,
    ) -> str:
        """Work on a stage to its end, or until told to stop.

        Args:
            stage: Has the jobs.
            workers: Have the time.
            until: Why to stop now, or nothing.
            idle: What to do while workers are busy for more than a moment, a piece of it; answers
                whether there is more.

        Returns:
            Why it stopped early, or nothing.

        Raises:
            Interrupted: If a signal came; children in hand had their time to finish.
        """
        self._progress.begin(self._folder, self._record, workers)
        in_hand, outcome = 0, None
        with self._interrupts.orderly():
            while True:
                reason, signal = until(), self._interrupts.requested
                stopping = bool(reason) or signal is not None
                with self._journal.group():
                    over: list[Trial] = [] if outcome is None else stage.settle(outcome)
                    job = stage.next_job() if workers.free and not stopping else None
                    if job is not None:  # the worker need not wait for the disk: a child that
                        workers.submit(job)  # is handed out again is no loss
                        in_hand += 1
                # What is shown is on the disk.
                if job is not None:
                    self._progress.started(job.key, stage.title(job.key))
                for trial in over:
                    self._show(stage, trial)
                outcome = None
                if job is None and in_hand == 0 and (stopping or stage.over):
                    break
                if job is None or workers.free == 0:
                    self._sync()
                    outcome = _outcome(workers, idle)
                    in_hand -= outcome is not None
                    self._progress.tick()
        signal = self._interrupts.requested  # also one of the last turn
        if signal is not None:
            raise Interrupted(signal)
        return reason

    def _show(self, stage: Stage, trial: Trial) -> None:
        if isinstance(stage, Rescoring):
            self._progress.rescored(stage.finalist(trial))
        else:
            self._progress.finished(trial)

    def _sync(self) -> None:
        """Bring the study up to date, now and then: between handing out and waiting."""
        if self._mirror is not None and time.monotonic() - self._synced > SYNC_EVERY:
            self._mirror.sync(self._record.trials)
            self._synced = time.monotonic()


def _outcome(workers: Workers, idle: Callable[[], bool]) -> Outcome | None:
    """The next outcome, or nothing after a while or when a worker has become free."""
    free = workers.free
    outcome = workers.wait(MOMENT)
    if outcome is None and workers.free == free and not idle():
        outcome = workers.wait(TICK)
    return outcome
