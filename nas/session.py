"""One process at work on a run, from where the record ends to the exported winner."""

import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final

from estimators.estimator import Estimator, Pretrained
from estimators.finishing import Finishing
from estimators.full_recipe import FullRecipe
from estimators.training import Training
from estimators.ways import AUTO, FLOAT32
from nas.device import device_here
from nas.ending import Ending
from nas.engine import BUDGET_SPENT, Search, SearchFailed
from nas.errors import NasError
from nas.execution import Execution, workers_for
from nas.export import ARCHITECTURE
from nas.final_training import FinalTraining, affordable, checkpoint_of
from nas.finalists import Finalist, Rescoring
from nas.interrupts import Interrupted, Interrupts
from nas.journal import Journal, read_events
from nas.preparation import Prepared
from nas.pretraining import pretrain
from nas.progress import Progress
from nas.record import Record
from nas.result import Result
from nas.run_folder import (
    ESTIMATOR,
    EVENTS,
    STUDY,
    tidy,
    versions,
)
from nas.status import is_summed_up
from nas.trial import Trial
from nas.workers import Job, Outcome, Workers

if TYPE_CHECKING:
    from nas.ray_session import RaySession
    from nas.study import StudyMirror

TICK = 0.5  # seconds between looks at the clock and at signals
NOTHING_FOUND = 3  # exit code
MOMENT = 0.02  # seconds without an outcome after which there is time to foresee the next ask
SYNC_EVERY = 1.0  # seconds between writes of the study
FINAL_SHARE = 0.5  # of limited time, kept for fresh scores and the winner's training to the end


class Stage(Protocol):
    """Part of a run that needs workers: the search, then the fresh scores."""

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
class Session:
    """Works on a run folder that this process has locked.

    Args:
        folder: The run folder, with its ``run.json``.
        prepared: All that the run needs; its plan has the budget of this session.
        execution: How to carry it out.
        progress: Is shown everything.
        interrupts: Entered; says when to stop.
        ray: Where workers are to be, started or not; None to train in this process.
    """

    def __init__(
        self,
        folder: Path,
        prepared: Prepared,
        execution: Execution,
        *,
        progress: Progress,
        interrupts: Interrupts,
        ray: "RaySession | None",
    ) -> None:
        self._ray = ray
        self._folder = folder
        self._prepared = prepared
        self._plan = prepared.plan
        self._execution = execution
        self._progress = progress
        self._interrupts = interrupts
        self._begin = time.monotonic()
        self._synced = 0.0
        self._record: Record
        self._journal: Journal
        self._ending: Ending
        self._mirror: StudyMirror | None = None

    def run(self) -> Result:
        """Go on where the record ends, to the exported winner.

        Raises:
            NasError: If nothing was found (exit code 3), the record is damaged or does not fit
                (4), or the surroundings fail (5).
            Interrupted: If a signal came.
        """
        tidy(self._folder)
        with self._progress:
            return self._run()

    def _run(self) -> Result:
        path = self._folder / EVENTS
        events = list(read_events(path)) if path.exists() else []
        plan = self._plan
        record = Record.of(events, plan.objective, plan.budget, beside=plan.beside)
        self._record = record
        with Journal(path, record.apply) as self._journal, self._mirrored():
            self._ending = Ending(
                self._folder, self._prepared, record=record, journal=self._journal
            )
            if self._is_done():
                return self._ending.conclude(self._rescoring())
            prepared = self._prepared
            self._opened()
            self._pretrain()
            with self._workers(prepared.estimator) as workers:
                search = Search(
                    self._plan,
                    prepared.strategy,
                    children=prepared.children,
                    record=record,
                    journal=self._journal,
                    folder=self._folder,
                    screen=prepared.screen,
                )
                search.give_back(events)
                self._progress.begin(self._folder, record, workers)
                self._search(search, workers)
                if prepared.judge is prepared.estimator:
                    self._drive(self._rescoring(), workers)
            if prepared.judge is not prepared.estimator:
                with self._workers(prepared.judge) as workers:
                    self._progress.begin(self._folder, record, workers)
                    self._drive(self._rescoring(), workers)
            self._finish()
            result = self._ending.conclude(self._rescoring())
            self._audit()
            return result

    def _is_done(self) -> bool:
        """Whether an earlier session came to the end, and nothing more is asked for."""
        record, rescoring = self._record, self._rescoring()
        return (
            record.outcome == "done"
            and record.exported is not None
            and record.budget == self._plan.budget
            and is_summed_up(self._folder, record)
            and (self._prepared.record.audit is None or record.audited is not None)
            and rescoring.over
            and not any(map(self._ending.is_to_finish, rescoring.finalists()[:1]))
            and all(
                (self._ending.place(one) / ARCHITECTURE).exists() and self._ending.has_weights(one)
                for one in rescoring.front()
            )
        )

    def _finish(self) -> None:
        """Train the winner to the end, if that is wanted and not done yet."""
        prepared, finalists = self._prepared, self._rescoring().finalists()
        if not finalists or not self._ending.is_to_finish(finalists[0]):
            return
        if reason := self._time_is_up():
            self._progress.notice(f"final training left out: {reason}; nas resume does it")
            return
        best = finalists[0]
        recipe = self._final_recipe(best)
        if recipe is None:
            self._progress.notice(
                "final training left out: there is no time for one epoch; nas resume does it"
            )
            return
        finishing = Finishing(recipe, checkpoint_of(self._folder, best.trial.ordinal))
        finishing.prepare(prepared.images, prepared.task)
        stage = FinalTraining(
            self._plan, best, recipe=finishing.recipe, journal=self._journal, folder=self._folder
        )
        with self._workers(finishing, most=1, timed=False) as workers:
            self._progress.begin(self._folder, self._record, workers)
            self._drive(stage, workers)
        if stage.failure is not None:
            self._progress.failed(stage.title(best.trial.ordinal), stage.failure)

    def _final_recipe(self, best: Finalist) -> FullRecipe | None:
        """How the winner is trained in what is left of the time; None if it is too little.

        What was begun is not cut any more: its checkpoint is of so many epochs.
        """
        prepared, ordinal = self._prepared, best.trial.ordinal
        recipe, device = prepared.recipe, device_here(self._plan.device)
        assert recipe is not None  # noqa: S101 - it is to be finished
        if recipe.precision == AUTO and isinstance(prepared.judge, Training):
            precision = prepared.judge.precision_of(best.child.graph)
            # As float32 is what it means anyway, what was begun before there was a choice goes on.
            recipe = recipe if precision == FLOAT32 else replace(recipe, precision=precision)
        here = device == self._plan.device and (self._ray is None or self._ray.here)
        begun = checkpoint_of(self._folder, ordinal).exists() or ordinal in self._record.finishing
        if self._left() < math.inf and here and not begun:
            epochs = affordable(
                best.child.graph,
                prepared.images,
                prepared.task,
                recipe,
                device=device,
                seconds=self._left(),
            )
            if not epochs:
                return None
            if epochs < recipe.epochs:
                self._journal.append("finishing", ordinal=ordinal, epochs=epochs)
        return replace(recipe, epochs=self._record.finishing.get(ordinal, recipe.epochs))

    def _opened(self) -> None:
        self._journal.append("opened", **opened(self._plan.budget, self._execution.workers))

    def _pretrain(self) -> None:
        """Let an estimator train for all children, if that is how it works; see ``pretrain``."""
        estimator = self._prepared.estimator
        if not isinstance(estimator, Pretrained):
            return
        seconds = pretrain(
            estimator,
            self._prepared,
            self._folder / ESTIMATOR,
            interrupts=self._interrupts,
            tell=self._progress.notice,
        )
        if self._record.pretrained is None:
            self._journal.append("pretrained", seconds=round(seconds, 3))
            self._progress.notice(f"estimator: trained for all children in {seconds:.0f} s")

    def _audit(self) -> None:
        """Find out whether the estimators can be trusted, if that is wanted and not done yet.

        The run has its winner: too few children for an audit are said, and fail nothing.

        Raises:
            NasError: If the surroundings fail (exit code 5).
            Interrupted: If a signal came; what was measured is kept.
        """
        size, record = self._prepared.record.audit, self._record
        if size is None or record.audited is not None:
            return
        from nas.audit.auditing import Order, audited  # noqa: PLC0415 - SciPy's statistics
        from nas.audit.measurements import OutOfTimeError  # noqa: PLC0415

        tell = self._progress.notice
        try:
            audited(
                self._folder,
                self._prepared,
                Order(size.children, size.seeds),
                record=record,
                journal=self._journal,
                execution=self._execution,
                interrupts=self._interrupts,
                ray=self._ray,
                show=tell,
                until=self._time_is_up,
            )
        except OutOfTimeError as error:
            tell(f"audit not done: {error}; nas resume goes on with it")
        except NasError as error:
            if error.exit_code != NOTHING_FOUND:
                raise
            tell(str(error))

    @contextmanager
    def _mirrored(self) -> Iterator[None]:
        """With the study kept up to date, and closed at the end."""
        if not self._execution.study:
            yield
            return
        from nas.study import StudyMirror  # noqa: PLC0415 - Optuna takes a second to import

        self._mirror = StudyMirror(
            self._folder / STUDY,
            name=self._folder.resolve().name,
            genome=self._prepared.space.genome,
            objectives=self._plan.objectives,
        )
        self._mirror.sync(self._record.trials)  # makes the database before children wait for it
        try:
            yield
        finally:
            self._mirror.close(hurry=isinstance(sys.exception(), Interrupted))

    def _workers(
        self, estimator: Estimator, *, most: int | None = None, timed: bool = True
    ) -> AbstractContextManager[Workers]:
        """Workers of this session, that score by an estimator."""
        return workers_for(
            estimator,
            self._prepared,
            self._execution if timed else replace(self._execution, child_timeout=None),
            most=self._plan.budget if most is None else most,
            ray=self._ray,
            interrupts=self._interrupts,
        )

    def _search(self, search: Search, workers: Workers) -> None:
        """Spend the budget, or the time.

        Raises:
            NasError: If too many children failed (exit code 3).
        """
        finishing = self._prepared.recipe is not None
        left = self._left()
        reserve = FINAL_SHARE * left if finishing and 0 < left < math.inf else 0.0
        until = partial(self._time_is_up, reserve)
        try:
            reason = self._drive(search, workers, until=until, idle=search.foresee)
        except SearchFailed as error:
            raise self._ending.nothing_found() from error
        if reason and search.spent:
            search.stop(BUDGET_SPENT, "done")  # the time was just enough
        elif reason:
            search.stop(reason, "paused")

    def _left(self) -> float:
        """Seconds until the time limit; infinite without one."""
        hours = self._execution.max_hours
        return math.inf if hours is None else 3600 * hours - (time.monotonic() - self._begin)

    def _time_is_up(self, reserve: float = 0.0) -> str:
        """Why nothing is to be started any more, or nothing.

        Args:
            reserve: Seconds before the time limit that are kept for what comes later.
        """
        if self._left() > reserve:
            return ""
        limit = f"time limit of {self._execution.max_hours:g} h"
        return f"{limit}: the rest is for the winner" if reserve else f"{limit} reached"

    def _drive(
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
        in_hand, outcome, over = 0, None, list[Trial]()
        with self._interrupts.orderly():
            while True:
                reason, signal = until(), self._interrupts.requested
                stopping = bool(reason) or signal is not None
                with self._journal.group():
                    over = stage.settle(outcome) if outcome is not None else []
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

    def _rescoring(self) -> Rescoring:
        return Rescoring(
            self._plan,
            children=self._prepared.children,
            record=self._record,
            journal=self._journal,
            folder=self._folder,
        )


def _outcome(workers: Workers, idle: Callable[[], bool]) -> Outcome | None:
    """The next outcome, or nothing after a while or when a worker has become free."""
    free = workers.free
    outcome = workers.wait(MOMENT)
    if outcome is None and workers.free == free and not idle():
        outcome = workers.wait(TICK)
    return outcome


def opened(budget: int, workers: int | None) -> dict[str, Any]:
    """What a journal says of a process that begins to work on its run."""
    return {
        "budget": budget,
        "pid": os.getpid(),
        "host": platform.node(),
        "time": round(time.time(), 3),
        "workers": workers,
        "versions": versions(),
    }
