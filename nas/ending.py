"""What follows the last training of a run: weights, test images, export, summary."""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import final

from estimators.estimator import EvaluationError
from estimators.scoring import scored
from estimators.training import Training
from nas import scaling
from nas.device import device_here
from nas.engine import BUDGET_SPENT, RETRIED
from nas.errors import NasError
from nas.export import ARCHITECTURE, Preprocessing, Winner, export
from nas.final_training import checkpoint_of
from nas.finalists import Finalist, Rescoring
from nas.front_chart import front_chart
from nas.journal import Journal
from nas.plan import FINAL, training_seed
from nas.preparation import Prepared
from nas.real_images import few_images
from nas.record import FINAL_TRAINING, FULL, WEIGHTS, Kept, Reading, Record
from nas.result import Exported, FinalFigures, Result, TestFigures, outline, summary
from nas.run_folder import BEST, FRONT, FRONT_CHART, SUMMARY, TRIALS, tidy, write_json, write_text
from nas.status import summary_of
from nas.weights import forget_others, keep, read, still_there
from search_spaces import architecture as architecture_format
from search_spaces.modules import build
from search_spaces.scaling import ScalingSpace


@final
class Ending:
    """Brings a run whose trainings are done to its exported winner.

    What the record has already is not done again.

    Args:
        folder: The run folder, locked by this process.
        prepared: All that the run needs.
        record: Of the run; the journal keeps it up to date.
        journal: Receives what is done.
    """

    def __init__(
        self, folder: Path, prepared: Prepared, *, record: Record, journal: Journal
    ) -> None:
        self._folder, self._prepared, self._plan = folder, prepared, prepared.plan
        self._record, self._journal = record, journal

    def conclude(self, rescoring: Rescoring) -> Result:
        """Weights, test images, export, summary: whatever of it is not done yet.

        Args:
            rescoring: All fresh scores are there.

        Raises:
            NasError: If there is no winner, or a training for its weights diverges (exit code 3),
                or the folder cannot be written (5).
        """
        finalists, record = rescoring.finalists(), self._record
        if not finalists:
            raise self.nothing_found()
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

    def nothing_found(self) -> NasError:
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

    def place(self, winner: Finalist) -> Path:
        """Where a winner is exported to."""
        if self._plan.beside:
            return self._folder / FRONT / f"trial-{winner.trial.ordinal}"
        return self._folder / BEST

    def has_weights(self, best: Finalist) -> bool:
        """Whether the winner needs no final training."""
        kept = (self._kept_weights(best, place) for place in (FINAL_TRAINING, WEIGHTS))
        return best.weights is not None or any(one is not None for one in kept)

    def is_to_finish(self, best: Finalist) -> bool:
        """Whether the winner still has to be trained to the end."""
        if self._prepared.recipe is None:
            return False
        done = self._record.readings.get((best.trial.ordinal, FINAL_TRAINING))
        if done is None or done.failed in RETRIED:  # a machine's fault is not the network's
            return True
        return not done.failed and self._kept_weights(best, FINAL_TRAINING) is None

    def _kept_weights(self, best: Finalist, place: int) -> Kept | None:
        """What a training beside the fresh scores has left, if it is still there."""
        known = self._record.readings.get((best.trial.ordinal, place))
        kept = None if known is None else known.weights
        return kept if kept is not None and still_there(self._folder, kept) else None

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
        return Exported(best, self.place(best), test, check, told)

    def _is_better(self, final: Reading, best: Finalist) -> bool:
        """Whether the final training left weights that are not worse on validation images."""
        if final.failed or self._kept_weights(best, FINAL_TRAINING) is None:
            return False
        if best.weights is None or self._prepared.judge.recipe.get("folds", 1) != 1:
            return True  # the weights of a fold have seen validation images
        reward = self._plan.verdict.reward
        return reward(final.metrics[best.metric]) >= max(map(reward, best.scores))

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
        training.settle(prepared.record.derived.ways)
        kept = self._kept_weights(best, WEIGHTS)
        if kept is not None:
            return replace(best, weights=kept), training.recipe
        seed, fidelity = training_seed(self._plan.seed, FINAL, ordinal), self._plan.fidelity
        begin = time.monotonic()
        try:
            evaluation = training.evaluate(
                best.child.graph,
                fidelity=fidelity,
                seed=seed,
                device=device_here(self._plan.device),
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
        graph, device = best.child.graph, device_here(self._plan.device)
        model = build(graph)
        model.load_state_dict(read(self._folder, kept, graph), strict=True)
        split, task = self._prepared.images.test, self._prepared.task
        outputs = scored(model.to(device), split, graph=graph, device=device)
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
        record, folder = self._record, self.place(best)
        done = record.exports.get(best.trial.ordinal) if self._plan.beside else record.exported
        whole = (folder / ARCHITECTURE).is_file()
        if whole and done is not None and done["sha256"] == kept.sha256:
            return float(done["relative_error"])
        (self._folder / SUMMARY).unlink(missing_ok=True)  # of another winner
        if folder.exists():  # of an earlier winner, or not known to be whole
            old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
            folder.rename(old)
        winner, images = self._winner(best, kept, test, recipe), self._prepared.images
        check = export(winner, folder, real=few_images(images, winner.graph))
        assert check is not None  # noqa: S101 - there are weights
        ordinal, sha256 = best.trial.ordinal, kept.sha256
        self._journal.append("exported", ordinal=ordinal, sha256=sha256, relative_error=check)
        tidy(self._folder)
        return check

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
