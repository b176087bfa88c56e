"""One process at work on a run, from where the record ends to the exported winner."""

import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from estimators.estimator import Pretrained
from nas.driving import Driver
from nas.ending import Ending
from nas.engine import BUDGET_SPENT, Search, SearchFailed
from nas.errors import NasError
from nas.execution import Execution
from nas.final_weights import FinalWeights
from nas.finale import Finale
from nas.finalists import Rescoring
from nas.interrupts import Interrupted, Interrupts
from nas.journal import Journal, read_events
from nas.preparation import Prepared
from nas.pretraining import pretrain
from nas.progress import Progress
from nas.record import Record
from nas.result import Result
from nas.run_folder import ESTIMATOR, EVENTS, STUDY, tidy, versions
from nas.status import is_summed_up
from nas.workers import Workers

if TYPE_CHECKING:
    from nas.ray_session import RaySession
    from nas.study import StudyMirror

NOTHING_FOUND = 3  # exit code
FINAL_SHARE = 0.5  # of limited time, kept for fresh scores and what follows them


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
        self._record: Record
        self._journal: Journal
        self._ending: Ending
        self._driver: Driver

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
        with Journal(path, record.apply) as self._journal, self._mirrored() as mirror:
            weights = FinalWeights(
                self._folder, self._prepared, record=record, journal=self._journal
            )
            self._ending = Ending(
                self._folder,
                self._prepared,
                record=record,
                journal=self._journal,
                weights=weights,
            )
            finale = Finale(
                self._folder,
                self._prepared,
                record=record,
                journal=self._journal,
                weights=weights,
                progress=self._progress,
            )
            if self._is_done(finale):
                return self._ending.conclude(self._rescoring())
            self._driver = driver = Driver(
                self._folder,
                self._prepared,
                self._execution,
                record=record,
                journal=self._journal,
                mirror=mirror,
                progress=self._progress,
                interrupts=self._interrupts,
                ray=self._ray,
                begin=self._begin,
            )
            prepared = self._prepared
            self._journal.append("opened", **opened(self._plan.budget, self._execution.workers))
            self._pretrain()
            with driver.workers(prepared.estimator) as workers:
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
                self._search(search, workers)
                if prepared.judge is prepared.estimator:
                    driver.drive(self._rescoring(), workers)
            if prepared.judge is not prepared.estimator:
                with driver.workers(prepared.judge) as workers:
                    driver.drive(self._rescoring(), workers)
            finale.play(self._rescoring().finalists(), driver)
            result = self._ending.conclude(self._rescoring())
            self._audit()
            return result

    def _is_done(self, finale: Finale) -> bool:
        """Whether an earlier session came to the end, and nothing more is asked for."""
        record, rescoring = self._record, self._rescoring()
        return (
            record.outcome == "done"
            and record.exported is not None
            and record.budget == self._plan.budget
            and is_summed_up(self._folder, record)
            and (self._prepared.run.audit is None or record.audited is not None)
            and rescoring.over
            and finale.is_over(rescoring.finalists())
            and self._ending.is_written(rescoring.front())
        )

    def _pretrain(self) -> None:
        """Let an estimator train for all children, if that is how it works; see ``pretrain``.

        Raises:
            NasError: If the time is up before its end (exit code 3), or as ``pretrain`` does.
        """
        estimator = self._prepared.estimator
        if not isinstance(estimator, Pretrained):
            return
        seconds = pretrain(
            estimator,
            self._prepared,
            self._folder / ESTIMATOR,
            interrupts=self._interrupts,
            until=self._driver.time_is_up,
            tell=self._progress.notice,
        )
        if seconds is None:
            raise NasError(
                f"{self._driver.time_is_up()} while the estimator was trained, before any child; "
                f"go on with: nas resume {self._folder}",
                exit_code=NOTHING_FOUND,
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
        size, record = self._prepared.run.audit, self._record
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
                until=self._driver.time_is_up,
            )
        except OutOfTimeError as error:
            tell(f"audit not done: {error}; nas resume goes on with it")
        except NasError as error:
            if error.exit_code != NOTHING_FOUND:
                raise
            tell(str(error))

    @contextmanager
    def _mirrored(self) -> "Iterator[StudyMirror | None]":
        """The study, to be kept up to date and closed at the end; None if there is to be none."""
        if not self._execution.study:
            yield None
            return
        from nas.study import StudyMirror  # noqa: PLC0415 - Optuna takes a second to import

        mirror = StudyMirror(
            self._folder / STUDY,
            name=self._folder.resolve().name,
            genome=self._prepared.space.genome,
            objectives=self._plan.objectives,
        )
        mirror.sync(self._record.trials)  # makes the database before children wait for it
        try:
            yield mirror
        finally:
            mirror.close(hurry=isinstance(sys.exception(), Interrupted))

    def _search(self, search: Search, workers: Workers) -> None:
        """Spend the budget, or the time.

        Raises:
            NasError: If too many children failed (exit code 3).
        """
        finishing = self._prepared.recipe is not None
        left = self._driver.left()
        reserve = FINAL_SHARE * left if finishing and 0 < left < math.inf else 0.0
        until = partial(self._driver.time_is_up, reserve)
        try:
            reason = self._driver.drive(search, workers, until=until, idle=search.foresee)
        except SearchFailed as error:
            raise self._ending.nothing_found() from error
        if reason and search.spent:
            search.stop(BUDGET_SPENT, "done")  # the time was just enough
        elif reason:
            search.stop(reason, "paused")

    def _rescoring(self) -> Rescoring:
        return Rescoring(
            self._plan,
            children=self._prepared.children,
            record=self._record,
            journal=self._journal,
            folder=self._folder,
        )


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
