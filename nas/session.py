"""One process at work on a run, from where the record ends to the exported winner."""

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final

import torch

from estimators.estimator import Estimator, EvaluationError, Population, Pretrained, Pretraining
from estimators.finishing import Finishing
from estimators.scoring import scored
from estimators.training import Training
from nas import scaling
from nas.configuration import Prepared
from nas.engine import BUDGET_SPENT, RETRIED, Search, SearchFailed
from nas.errors import NasError
from nas.export import ARCHITECTURE, Preprocessing, Winner, export
from nas.final_training import FinalTraining, checkpoint_of
from nas.finalists import Finalist, Rescoring
from nas.front_chart import front_chart
from nas.interrupts import Interrupted, Interrupts
from nas.journal import Journal, read_events
from nas.plan import FINAL, PRETRAINING, rng_of, training_seed
from nas.progress import Progress
from nas.record import FINAL_TRAINING, FULL, WEIGHTS, Kept, Reading, Record
from nas.result import Exported, FinalFigures, Result, TestFigures, outline, summary
from nas.run_folder import (
    BEST,
    ESTIMATOR,
    EVENTS,
    FRONT,
    FRONT_CHART,
    STUDY,
    SUMMARY,
    TRIALS,
    tidy,
    versions,
    write_json,
    write_text,
)
from nas.status import is_summed_up, summary_of
from nas.trial import Trial
from nas.weights import forget_others, keep, read, still_there
from nas.workers import InProcessWorkers, Job, Outcome, Workers
from search_spaces import architecture as architecture_format
from search_spaces.modules import build
from search_spaces.scaling import ScalingSpace

if TYPE_CHECKING:
    from nas.ray_workers import RaySession
    from nas.study import StudyMirror

TICK = 0.5  # seconds between looks at the clock and at signals
MOMENT = 0.02  # seconds without an outcome after which there is time to foresee the next ask
SYNC_EVERY = 1.0  # seconds between writes of the study


@final
@dataclass(frozen=True, slots=True)
class Execution:
    """How one session of a run is carried out; the next may have another.

    Attributes:
        workers: Worker processes; None for as many as fit, 0 to train in this process.
        gpus_per_child: GPUs reserved for each worker; None for 1 on ``cuda`` and 0 elsewhere.
        child_timeout: Seconds after which a child is killed; None for 20 times the longest so
            far, at least 600, and no limit before the first has a score.
        grace: Seconds that running children have to finish after Ctrl-C or SIGTERM.
        max_hours: After how many hours of this session nothing is started any more; None for
            no limit. What runs is finished, and the winner exported.
        study: Whether to keep ``study.db``.
    """

    workers: int | None = None
    gpus_per_child: float | None = None
    child_timeout: float | None = None
    grace: float = 30.0
    max_hours: float | None = None
    study: bool = True

    def gpus(self, device: str) -> float:
        """Cards that each worker reserves on a device."""
        return float(device == "cuda") if self.gpus_per_child is None else self.gpus_per_child


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
            if self._is_done():
                return self._conclude(self._rescoring())
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
            return self._conclude(self._rescoring())

    def _is_done(self) -> bool:
        """Whether an earlier session came to the end, and nothing more is asked for."""
        record, rescoring = self._record, self._rescoring()
        return (
            record.outcome == "done"
            and record.exported is not None
            and record.budget == self._plan.budget
            and is_summed_up(self._folder, record)
            and rescoring.over
            and not any(map(self._is_to_finish, rescoring.finalists()[:1]))
            and all(
                (self._place(one) / ARCHITECTURE).exists() and self._has_weights(one)
                for one in rescoring.front()
            )
        )

    def _place(self, winner: Finalist) -> Path:
        """Where a winner is exported to."""
        if self._plan.beside:
            return self._folder / FRONT / f"trial-{winner.trial.ordinal}"
        return self._folder / BEST

    def _finish(self) -> None:
        """Train the winner to the end, if that is wanted and not done yet."""
        prepared, finalists = self._prepared, self._rescoring().finalists()
        if not finalists or not self._is_to_finish(finalists[0]):
            return
        if reason := self._time_is_up():
            self._progress.notice(f"final training left out: {reason}; nas resume does it")
            return
        best = finalists[0]
        assert prepared.recipe is not None  # noqa: S101 - it is to be finished
        finishing = Finishing(prepared.recipe, checkpoint_of(self._folder, best.trial.ordinal))
        finishing.prepare(prepared.images, prepared.task)
        stage = FinalTraining(
            self._plan, best, recipe=finishing.recipe, journal=self._journal, folder=self._folder
        )
        with self._workers(finishing, most=1, timed=False) as workers:
            self._progress.begin(self._folder, self._record, workers)
            self._drive(stage, workers)

    def _is_to_finish(self, best: Finalist) -> bool:
        """Whether the winner still has to be trained to the end."""
        if self._prepared.recipe is None:
            return False
        done = self._record.readings.get((best.trial.ordinal, FINAL_TRAINING))
        if done is None or done.failed in RETRIED:  # a machine's fault is not the network's
            return True
        return not done.failed and self._kept_weights(best, FINAL_TRAINING) is None

    def _has_weights(self, best: Finalist) -> bool:
        """Whether the winner needs no final training."""
        kept = (self._kept_weights(best, place) for place in (FINAL_TRAINING, WEIGHTS))
        return best.weights is not None or any(one is not None for one in kept)

    def _kept_weights(self, best: Finalist, place: int) -> Kept | None:
        """What a training beside the fresh scores has left, if it is still there."""
        known = self._record.readings.get((best.trial.ordinal, place))
        kept = None if known is None else known.weights
        return kept if kept is not None and still_there(self._folder, kept) else None

    def _opened(self) -> None:
        self._journal.append("opened", **opened(self._plan.budget, self._execution.workers))

    def _pretrain(self) -> None:
        """Let an estimator train for all children, if that is how it works.

        Raises:
            NasError: If that diverges (exit code 3), what is in its folder is of another run or
                damaged (4), or the folder cannot be written (5).
            Interrupted: If a signal came; what was trained is kept.
        """
        estimator, children = self._prepared.estimator, self._prepared.children
        if not isinstance(estimator, Pretrained):
            return
        rng = rng_of(self._plan.seed, PRETRAINING)
        given = Pretraining(
            Population(children.draw, lambda: children.extremes(rng)),
            self._folder / ESTIMATOR,
            seed=training_seed(self._plan.seed, PRETRAINING),
            device=self._device(),
            tell=self._progress.notice,
            stop=lambda: self._interrupts.requested is not None,
        )
        try:
            with self._interrupts.orderly():
                seconds = estimator.pretrain(given)
        except EvaluationError as error:
            raise NasError(f"estimator: {error}", exit_code=3) from error
        except ValueError as error:
            raise NasError(f"estimator: {error}", exit_code=4) from error
        except OSError as error:
            raise NasError(f"estimator: {error}", exit_code=5) from error
        signal = self._interrupts.requested
        if signal is not None:
            raise Interrupted(signal)
        assert seconds is not None  # noqa: S101 - nothing told it to stop
        if self._record.pretrained is None:
            self._journal.append("pretrained", seconds=round(seconds, 3))
            self._progress.notice(f"estimator: trained for all children in {seconds:.0f} s")

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
        try:
            reason = self._drive(search, workers, until=self._time_is_up, idle=search.foresee)
        except SearchFailed as error:
            raise self._nothing_found() from error
        if reason and search.spent:
            search.stop(BUDGET_SPENT, "done")  # the time was just enough
        elif reason:
            search.stop(reason, "paused")

    def _time_is_up(self) -> str:
        hours = self._execution.max_hours
        if hours is None or time.monotonic() - self._begin < 3600 * hours:
            return ""
        return f"time limit of {hours:g} h reached"

    def _drive(
        self,
        stage: Stage,
        workers: Workers,
        *,
        until: Callable[[], str] = lambda: "",
        idle: Callable[[], None] = lambda: None,
    ) -> str:
        """Work on a stage to its end, or until told to stop.

        Args:
            stage: Has the jobs.
            workers: Have the time.
            until: Why to stop now, or nothing.
            idle: What to do while workers are busy for more than a moment.

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

    def _conclude(self, rescoring: Rescoring) -> Result:
        """Weights, test images, export, summary: whatever of it is not done yet."""
        finalists, record = rescoring.finalists(), self._record
        if not finalists:
            raise self._nothing_found()
        winners = tuple(self._concluded(one) for one in rescoring.front())
        self._forget([one.trial.ordinal for one in finalists])
        result = Result(
            folder=self._folder,
            best=winners[0].finalist,
            finalists=tuple(finalists),
            trials=tuple(record.trials),
            test=winners[0].test.metrics,
            test_by_class=winners[0].test.by_class,
            ended=record.ended,
            seconds=record.seconds,
            weights_check=max(one.weights_check for one in winners),
            winners=winners,
        )
        if self._plan.beside:
            self._tidy_front(result)
        document, space = summary(result, record), self._prepared.space
        if isinstance(space, ScalingSpace):
            document |= scaling.concluded(
                self._folder, space, record.trials, finalists, objective=self._plan.verdict
            )
        write_json(self._folder / SUMMARY, document)
        return result

    def _concluded(self, best: Finalist) -> Exported:
        """A winner with weights, read on the test images and exported."""
        recipe = self._prepared.judge.recipe
        final = self._record.readings.get((best.trial.ordinal, FINAL_TRAINING))
        if final is not None and self._is_better(final, best):
            best, recipe = replace(best, weights=final.weights), final.recipe
        elif best.weights is None:
            best, recipe = self._trained(best)
        assert best.weights is not None  # noqa: S101 - every training leaves weights
        test = self._test(best, best.weights)
        check = self._exported(best, best.weights, test, recipe)
        told = None
        if final is not None:
            told = FinalFigures(
                epochs=int(final.recipe["epochs"]),
                score=final.metrics.get(best.metric),
                used=best.weights == final.weights,
            )
        return Exported(best, self._place(best), test, check, told)

    def _is_better(self, final: Reading, best: Finalist) -> bool:
        """Whether the final training left weights that are not worse on validation images."""
        if final.failed or self._kept_weights(best, FINAL_TRAINING) is None:
            return False
        if best.weights is None or self._prepared.judge.recipe.get("folds", 1) != 1:
            return True  # the weights of a fold have seen validation images
        reward = self._plan.verdict.reward
        return reward(final.metrics[best.metric]) >= max(map(reward, best.scores))

    def _tidy_front(self, result: Result) -> None:
        """Draw the front, and remove exported networks that are no members any more."""
        members = {one.folder.name for one in result.winners}
        for path in (self._folder / FRONT).iterdir():
            if path.name not in members and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        write_text(self._folder / FRONT_CHART, front_chart(self._record, result.front))

    def _forget(self, finalists: Sequence[int]) -> None:
        """Delete weights of trials that are no finalists any more, and checkpoints."""
        readings = self._record.readings.items()
        kept = {
            reading.weights.file
            for (ordinal, _), reading in readings
            if ordinal in finalists and reading.weights is not None
        }
        known = {checkpoint_of(self._folder, ordinal).name for ordinal in finalists}
        for path in (self._folder / TRIALS).glob("*-final.checkpoint"):
            if path.name not in known:
                path.unlink(missing_ok=True)
        if self._record.outcome == "paused":  # to go on from
            kept |= {one.file for one in self._record.checkpoints.values() if one is not None}
        forget_others(self._folder, frozenset(kept))

    def _nothing_found(self) -> NasError:
        """What to say of a search without a winner; ``summary.json`` says the rest."""
        record, folder = self._record, self._folder
        document, kept = outline(record), ""
        earlier = summary_of(folder)
        if record.exported is not None and earlier is not None:  # an extension has failed
            kept_names = ("best", "front", "hypervolume", "finalists")
            document |= {name: earlier.get(name) for name in kept_names}
            kept = "; the winner of before stays"
        write_json(folder / SUMMARY, document)
        return NasError(f"no architecture found: {_why(record)}{kept}; see {folder}", exit_code=3)

    def _trained(self, best: Finalist) -> tuple[Finalist, Mapping[str, float | int | str]]:
        """The winner, trained by ``Training`` as its own estimator trains nothing.

        Returns:
            The winner with weights, and the recipe they come from.

        Raises:
            NasError: If that training diverges (exit code 3).
        """
        prepared, ordinal = self._prepared, best.trial.ordinal
        training = Training()
        training.prepare(prepared.images, prepared.task)
        kept = self._kept_weights(best, WEIGHTS)
        if kept is not None:
            return replace(best, weights=kept), training.recipe
        seed, fidelity = training_seed(self._plan.seed, FINAL, ordinal), self._plan.fidelity
        begin = time.monotonic()
        try:
            evaluation = training.evaluate(
                best.child.graph, fidelity=fidelity, seed=seed, device=self._device()
            )
        except EvaluationError as error:
            raise NasError(
                f"final training of trial {ordinal} failed: {error}", exit_code=3
            ) from error
        assert evaluation.weights is not None  # noqa: S101 - training returns weights
        kept = keep(self._folder, f"{ordinal}-weights", evaluation.weights)
        self._journal.append(
            "final_training",
            ordinal=ordinal,
            seed=seed,
            fidelity=fidelity,
            recipe=dict(training.recipe),
            metrics=dict(evaluation.metrics),
            weights={"file": kept.file, "sha256": kept.sha256},
            cause="",
            seconds=round(time.monotonic() - begin, 6),
        )
        return replace(best, weights=kept), training.recipe

    def _test(self, best: Finalist, kept: Kept) -> TestFigures:
        """The winner on the test split, read once for these weights."""
        classes = self._prepared.images.classes
        for read_before in self._record.test_reads:
            if read_before["sha256"] == kept.sha256:
                return TestFigures.of(read_before, classes)
        graph, device = best.child.graph, self._device()
        model = build(graph)
        model.load_state_dict(read(self._folder, kept, graph), strict=True)
        size = tuple(int(side) for side in graph.input_shape[1:])
        split, task = self._prepared.images.test, self._prepared.task
        outputs = scored(model.to(device), split, size=size, device=device)
        event = {
            "ordinal": best.trial.ordinal,
            "sha256": kept.sha256,
            "metrics": task.measure(outputs, split.labels),
            "by_class": [asdict(one) for one in task.by_class(outputs, split.labels)],
        }
        self._journal.append("test_read", **event)
        return TestFigures.of(event, classes)

    def _exported(
        self,
        best: Finalist,
        kept: Kept,
        test: TestFigures,
        recipe: Mapping[str, float | int | str],
    ) -> float:
        """Write its folder unless it is there with these weights; the error of its check."""
        record, folder = self._record, self._place(best)
        done = record.exports.get(best.trial.ordinal) if self._plan.beside else record.exported
        whole = (folder / ARCHITECTURE).is_file()
        if whole and done is not None and done["sha256"] == kept.sha256:
            return float(done["relative_error"])
        (self._folder / SUMMARY).unlink(missing_ok=True)  # of another winner
        if folder.exists():  # of an earlier winner, or not known to be whole
            old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
            folder.rename(old)
        check = export(self._winner(best, kept, test, recipe), folder)
        assert check is not None  # noqa: S101 - there are weights
        ordinal, sha256 = best.trial.ordinal, kept.sha256
        self._journal.append("exported", ordinal=ordinal, sha256=sha256, relative_error=check)
        tidy(self._folder)
        return check

    def _device(self) -> str:
        """Where this process computes: the run's device, if there is one here."""
        device = self._plan.device
        if device.startswith("cuda") and not torch.cuda.is_available():
            return "cpu"  # the workers have it
        return device

    def _winner(
        self,
        best: Finalist,
        kept: Kept,
        test: TestFigures,
        recipe: Mapping[str, float | int | str],
    ) -> Winner:
        """What is exported, with the lines of its card."""
        prepared, metric, guide = self._prepared, best.metric, self._plan.objective.metric
        images, run = prepared.images, prepared.record
        sizes = (len(images.train), len(images.validation), len(images.test))
        full = recipe.get("estimator") == FULL
        own = self._record.readings[best.trial.ordinal, 0].weights is not None
        judged = metric if own else f"{metric} as the estimator {run.estimator} has it"
        guided = judged if guide == metric else f"{guide} of the estimator {run.estimator}"
        scores = ", ".join(f"{score:.4g}" for score in best.scores)
        mean = f"{best.mean:.4g}, mean of {len(best.scores)} fresh seeds ({scores})"
        trial = best.trial
        searched = f"{trial.metrics[guide]:.4g} in trial {trial.ordinal} of {self._plan.budget}"
        weights = "the better of the trainings on fresh seeds" if own else "a training of their own"
        if full:
            weights = "the final training"
        elif recipe.get("folds", 1) != 1:
            weights += ", the first fold's"
        steps = ", ".join(
            f"{name} {value}"
            for name, value in recipe.items()
            if name != "data" and value not in (0, "none")
        )
        reads = len(self._record.test_reads)
        times = "read once" if reads == 1 else f"read {reads} times, for {reads} winners in turn"
        final, reading = {}, self._record.readings.get((trial.ordinal, FINAL_TRAINING))
        if reading is not None:
            final[f"Validation {metric} of the final training"] = _verdict(
                reading, metric, full=full
            )
        front = {}
        if self._plan.beside:
            times = "read once for each member of the front"
            names = ", ".join(one.metric for one in self._plan.objectives)
            front["Objectives"] = f"{names}; no other finalist is as good in all of them"
        return Winner(
            graph=best.child.graph,
            architecture=architecture_format.to_document(best.child.architecture),
            weights=read(self._folder, kept, best.child.graph),
            preprocessing=Preprocessing(
                images.classes, images.mean, images.std, images.input_shape[1:]
            ),
            figures={
                "Data": "{}: {:,} training, {:,} validation, {:,} test images".format(
                    images.name, *sizes
                ),
                f"Test {metric}": f"{test.metrics[metric]:.4g}, {times}",
                "Test, further": ", ".join(
                    f"{name} {value:.4g}" for name, value in test.metrics.items() if name != metric
                ),
                f"Validation {judged}": mean,
                f"Search {guided}": f"{searched}, seed {run.seed}",
                **final,
                "Weights": f"from {weights}: {steps}; fidelity {1 if full else trial.fidelity:g}",
                **front,
            },
            by_class=tuple(test.by_class.values()),
        )


@contextmanager
def workers_for(
    estimator: Estimator,
    prepared: Prepared,
    execution: Execution,
    *,
    most: int,
    ray: "RaySession | None",
    interrupts: Interrupts,
) -> Iterator[Workers]:
    """Workers that score by a prepared estimator, closed at the end.

    Args:
        estimator: What they score by.
        prepared: Of the run they work for.
        execution: How many of them, and where.
        most: Jobs at a time that there can be.
        ray: Where they are to be, started or not; None for this process.
        interrupts: Entered.
    """
    device, metrics = prepared.plan.device, prepared.metrics(estimator)
    if ray is None:
        yield InProcessWorkers(estimator, device, metrics=metrics)
        return
    from nas.ray_workers import RayWorkers  # noqa: PLC0415 - Ray takes a second to import

    ray.start()
    interrupts.again()  # Ray has put its own handler in place
    workers = RayWorkers(
        ray,
        estimator,
        device,
        metrics=metrics,
        count=execution.workers,
        most=most,
        gpus_per_child=execution.gpus(device),
        child_timeout=execution.child_timeout,
    )
    try:
        yield workers
    finally:
        workers.close()


@contextmanager
def ray_for(execution: Execution, address: str | None) -> Iterator["RaySession | None"]:
    """The Ray that workers are to be in, closed at the end; None to do without.

    A cluster is joined; a Ray on this machine is started by whoever needs it first.
    """
    if execution.workers == 0:
        yield None
        return
    from nas.ray_workers import RaySession  # noqa: PLC0415 - Ray takes a second to import

    session = RaySession(address)
    try:
        if address is not None:
            session.start()
        yield session
    finally:
        session.close()


def _outcome(workers: Workers, idle: Callable[[], None]) -> Outcome | None:
    """The next outcome, or nothing after a while or when a worker has become free."""
    free = workers.free
    outcome = workers.wait(MOMENT)
    if outcome is None and workers.free == free:
        idle()
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


def _verdict(reading: Reading, metric: str, *, full: bool) -> str:
    """What became of the final training, for the card."""
    if reading.failed:
        return f"none, it failed: {reading.failed}"
    worse = "" if full else "; not used, as the weights it was to replace have more"
    return f"{reading.metrics[metric]:.4g} after {reading.recipe['epochs']} epochs{worse}"


def _why(record: Record) -> str:
    """Why nothing was found, with the nearest value of a limit that only measuring can tell."""
    latencies = [trial.latency_ms for trial in record.trials if trial.latency_ms is not None]
    if latencies and not record.best:
        return f"{record.ended}; the lowest latency measured is {min(latencies):.3g} ms"
    if record.best and record.ended == BUDGET_SPENT:
        return "the best children failed when they were scored again"
    complete = len(record.ranking())
    return f"{record.ended}; {complete} have scores" if complete else record.ended
