"""What follows the last training of a run: weights, test images, export, summary."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import final

from estimators.scoring import scored
from nas import scaling
from nas.cards import reference_winner, searched_winner
from nas.comparison import Comparison, Side, difference, packed
from nas.device import device_here
from nas.engine import BUDGET_SPENT
from nas.errors import NasError
from nas.export import ARCHITECTURE, Winner, export
from nas.final_training import checkpoint_of
from nas.final_weights import FinalWeights
from nas.finalists import Finalist, Rescoring
from nas.fresh_process import loaded
from nas.front_chart import front_chart
from nas.journal import Journal
from nas.preparation import Prepared
from nas.readings import FULL, Who, of_whom
from nas.real_images import few_images
from nas.record import Record
from nas.result import (
    Exported,
    FinalFigures,
    Reference,
    Result,
    TestFigures,
    Trained,
    outline,
    summary,
)
from nas.rivalry import Rivalry
from nas.run_folder import (
    BEST,
    FRONT,
    FRONT_CHART,
    SEARCHED,
    SUMMARY,
    TRIALS,
    tidy,
    write_json,
    write_text,
)
from nas.status import summary_of
from nas.weights import forget_others, read
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
        weights: Of the networks at the end.
    """

    def __init__(
        self,
        folder: Path,
        prepared: Prepared,
        *,
        record: Record,
        journal: Journal,
        weights: FinalWeights,
    ) -> None:
        self._folder, self._prepared, self._plan = folder, prepared, prepared.plan
        self._record, self._journal, self._weights = record, journal, weights

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
        exported = [self._concluded(one) for one in rescoring.front()]
        winners, reference = tuple(one for one, _ in exported), exported[0][1]
        lost = reference is not None and reference.comparison.is_reference
        test = reference.test if reference is not None and lost else winners[0].test
        self._forget([one.trial.ordinal for one in finalists])
        result = Result(
            folder=self._folder,
            best=winners[0].finalist,
            finalists=tuple(finalists),
            trials=tuple(record.trials),
            test=test.metrics,
            test_by_class=test.by_class,
            ended=record.ended,
            seconds=record.seconds,
            weights_check=max(one.weights_check for one in winners),
            winners=winners,
            reference=reference,
        )
        if self._plan.beside:
            self._tidy_front(result)
        if not lost:
            shutil.rmtree(self._folder / SEARCHED, ignore_errors=True)  # of an earlier end
        document, space = summary(result, record), self._prepared.space
        if isinstance(space, ScalingSpace):
            document |= scaling.concluded(
                self._folder, space, record.trials, finalists, objective=self._plan.verdict
            )
        write_json(self._folder / SUMMARY, document)
        return result

    def nothing_found(self) -> NasError:
        """Write what is known of a search without a winner, and return what to say of it."""
        record, folder = self._record, self._folder
        document, kept = outline(record), ""
        earlier = summary_of(folder)
        if record.exported is not None and earlier is not None:  # an extension has failed
            kept_names = ("best", "searched", "comparison", "front", "hypervolume", "finalists")
            document |= {name: earlier.get(name) for name in kept_names}
            kept = "; the winner of before stays"
        write_json(folder / SUMMARY, document)
        return NasError(f"no architecture found: {_why(record)}{kept}; see {folder}", exit_code=3)

    def place(self, winner: Finalist) -> Path:
        """Where a winner is exported to."""
        if self._plan.beside:
            return self._folder / FRONT / f"trial-{winner.trial.ordinal}"
        return self._folder / BEST

    def is_written(self, finalists: Sequence[Finalist]) -> bool:
        """Whether all that is exported lies in its place, with weights to know it by.

        Args:
            finalists: Those that are winners.
        """
        said = summary_of(self._folder)
        lost = said is not None and said.get("searched") is not None
        places = [*map(self.place, finalists), *([self._folder / SEARCHED] if lost else [])]
        whole = all((place / ARCHITECTURE).exists() for place in places)
        return whole and all(map(self._weights.has_weights, finalists))

    def _concluded(self, best: Finalist) -> tuple[Exported, Reference | None]:
        """A winner and the published network it was compared with, read on the test images.

        The better one is exported to the winner's place, a winner that is not to ``SEARCHED``.
        """
        prepared, record = self._prepared, self._record
        trained, final = self._weights.of(best), self._weights.final_training(best.trial.ordinal)
        test = self._test(trained)
        reference = self._reference(best, trained, test)
        comparison = None if reference is None else reference.comparison
        lost = comparison is not None and comparison.is_reference
        place = self._folder / SEARCHED if lost else self.place(best)
        card = searched_winner(
            best, trained, test, prepared=prepared, record=record, comparison=comparison
        )
        said = "" if comparison is None else comparison.digest
        check = self._exported(trained, place, card, compared=said)
        if reference is not None and lost:
            card = reference_winner(reference, prepared=prepared, record=record)
            check = max(
                check, self._exported(reference.trained, self._folder / BEST, card, compared=said)
            )
        told = None
        if final is not None:
            told = FinalFigures(
                epochs=int(final.recipe["epochs"]),
                score=final.metrics.get(best.metric),
                used=trained.weights == final.weights,
            )
        best = replace(best, weights=trained.weights)
        return Exported(best, place, test, check, told), reference

    def _reference(self, best: Finalist, trained: Trained, test: TestFigures) -> Reference | None:
        """The published network that a winner is compared with; None if none was trained.

        Args:
            best: The winner.
            trained: The same, with its weights.
            test: What the test images say of it.
        """
        rivalry = Rivalry(best, prepared=self._prepared, record=self._record)
        rival = None if self._plan.beside else rivalry.strongest()
        published = None if rival is None else self._weights.of_published(rival)
        if published is None:
            return None
        its_test, reward = self._test(published), self._plan.verdict.reward
        return Reference(
            published,
            its_test,
            Comparison(
                metric=best.metric,
                searched=self._side(trained, test, rivalry),
                reference=self._side(published, its_test, rivalry),
                considered=tuple(rivalry.latencies),
                is_reference=reward(published.score) > reward(trained.score),
                difference=difference(test.hits, its_test.hits, len(self._prepared.images.test)),
            ),
        )

    def _side(self, trained: Trained, test: TestFigures, rivalry: Rivalry) -> Side:
        """One of two that are compared."""
        full = trained.recipe.get("estimator") == FULL
        reference = isinstance(trained.who, str)
        return Side(
            name=trained.name,
            params=trained.graph.params,
            macs=trained.graph.macs,
            latency_ms=rivalry.latencies[trained.name] if reference else rivalry.latency_ms,
            epochs=int(trained.recipe["epochs"]) if full else None,
            score=trained.score,
            test=test.metrics,
        )

    def _test(self, trained: Trained) -> TestFigures:
        """A network on the test split, read once for these weights."""
        classes, kept = self._prepared.images.classes, trained.weights
        for read_before in self._record.test_reads:
            if read_before["sha256"] == kept.sha256:
                return TestFigures.of(read_before, classes)
        graph, device = trained.graph, device_here(self._plan.device)
        model = loaded(graph, read(self._folder, kept, graph))
        split, task = self._prepared.images.test, self._prepared.task
        outputs = scored(model.to(device), split, graph=graph, device=device)
        event = {
            **of_whom(trained.who),
            "sha256": kept.sha256,
            "metrics": task.measure(outputs, split.labels),
            "by_class": [asdict(one) for one in task.by_class(outputs, split.labels)],
            "hits": packed(task.hits(outputs, split.labels)),
        }
        self._journal.append("test_read", **event)
        return TestFigures.of(event, classes)

    def _exported(self, trained: Trained, folder: Path, winner: Winner, *, compared: str) -> float:
        """Write a folder unless it is there with these weights and this comparison.

        Args:
            trained: What is exported.
            folder: Where.
            winner: What is written, but for the weights.
            compared: Digest of the comparison; empty if there was none.

        Returns:
            The error of its check.
        """
        place, kept = folder.relative_to(self._folder).as_posix(), trained.weights
        done = self._record.exports.get(place)
        known = None if done is None else (done["sha256"], done.get("compared", ""))
        whole = known == (kept.sha256, compared) and (folder / ARCHITECTURE).is_file()
        if done is not None and whole:
            return float(done["relative_error"])
        (self._folder / SUMMARY).unlink(missing_ok=True)  # of another winner
        if folder.exists():  # of an earlier winner, or not known to be whole
            old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
            folder.rename(old)
        graph, images = trained.graph, self._prepared.images
        weights = read(self._folder, kept, graph)
        check = export(replace(winner, weights=weights), folder, real=few_images(images, graph))
        assert check is not None  # noqa: S101 - there are weights
        self._journal.append(
            "exported",
            **of_whom(trained.who),
            place=place,
            sha256=kept.sha256,
            compared=compared,
            relative_error=check,
        )
        tidy(self._folder)
        return check

    def _tidy_front(self, result: Result) -> None:
        """Draw the front, and remove exported networks that are no members any more."""
        members = {one.folder.name for one in result.winners}
        for path in (self._folder / FRONT).iterdir():
            if path.name not in members and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        write_text(self._folder / FRONT_CHART, front_chart(self._record, result.front))

    def _forget(self, finalists: Sequence[int]) -> None:
        """Delete weights of trials that are no finalists any more, and checkpoints."""
        rivals = self._record.rivals  # those of an earlier winner as well, if the others are to be
        names = [] if rivals is None else [one["reference"] for one in rivals["networks"]]
        networks: set[Who] = {*finalists, *names}
        readings = self._record.readings.items()
        kept = {
            reading.weights.file
            for (who, _), reading in readings
            if who in networks and reading.weights is not None
        }
        known = {checkpoint_of(self._folder, who).name for who in networks}
        for path in (self._folder / TRIALS).glob("*-final.checkpoint"):
            if path.name not in known:
                path.unlink(missing_ok=True)
        if self._record.outcome == "paused":  # to go on from
            kept |= {one.file for one in self._record.checkpoints.values() if one is not None}
        forget_others(self._folder, frozenset(kept))


def _why(record: Record) -> str:
    """Why nothing was found, with the nearest value of a limit that only measuring can tell."""
    latencies = [trial.latency_ms for trial in record.trials if trial.latency_ms is not None]
    if latencies and not record.best:
        return f"{record.ended}; the lowest latency measured is {min(latencies):.3g} ms"
    if record.best and record.ended == BUDGET_SPENT:
        return "the best children failed when they were scored again"
    complete = len(record.ranking())
    return f"{record.ended}; {complete} have scores" if complete else record.ended
