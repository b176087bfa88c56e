"""What a search found, and the ``summary.json`` that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from estimators.class_figures import ClassFigures
from nas.export import export
from nas.finalists import Finalist
from nas.front import covered
from nas.loading import find, load
from nas.record import Record
from nas.run_folder import STUDY
from nas.trial import Trial

if TYPE_CHECKING:
    import optuna

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class TestFigures:
    """What the test images say of the winner.

    Attributes:
        metrics: Every metric of the task.
        by_class: Figures by name of the class; empty for runs of old.
    """

    __test__ = False  # its name looks like that of a test

    metrics: Mapping[str, float]
    by_class: Mapping[str, ClassFigures]

    @classmethod
    def of(cls, event: Mapping[str, Any], classes: Sequence[str]) -> "TestFigures":
        """As a ``test_read`` event has it."""
        known = [ClassFigures(**one) for one in event.get("by_class", ())]
        return cls(dict(event["metrics"]), dict(zip(classes, known, strict=False)))


@dataclass(frozen=True, slots=True)
class FinalFigures:
    """What became of the final training.

    Attributes:
        epochs: Passes over the training images.
        score: What the winner was chosen by, on validation images; None if the training failed.
        used: Whether its weights are those that were exported.
    """

    epochs: int
    score: float | None
    used: bool


@dataclass(frozen=True, slots=True)
class Exported:
    """A winner in its folder.

    Attributes:
        finalist: Its scores on fresh seeds, and its weights.
        folder: Plain PyTorch.
        test: What the test images say of it.
        weights_check: Largest relative difference between the source and the network.
        final_training: What became of it; None if there was none.
    """

    finalist: Finalist
    folder: Path
    test: TestFigures
    weights_check: float
    final_training: FinalFigures | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a search found.

    Attributes:
        folder: The run folder.
        best: The finalist with the best mean score over fresh seeds; with several objectives, the
            member of the front that is best by the first one.
        finalists: All of them, best first.
        trials: Every ask, in order.
        test: Every metric of ``best`` on the test split.
        test_by_class: Support, recall, precision and F1 there, by name of the class.
        ended: Why the search ended.
        seconds: Time worked on the run, over all sessions.
        weights_check: Largest relative difference between the exported source and the network.
        winners: What was exported: ``best``, or with several objectives every member of the front.
    """

    folder: Path
    best: Finalist
    finalists: tuple[Finalist, ...]
    trials: tuple[Trial, ...]
    test: Mapping[str, float]
    test_by_class: Mapping[str, ClassFigures]
    ended: str
    seconds: float
    weights_check: float
    winners: tuple[Exported, ...]

    @property
    def front(self) -> tuple[Finalist, ...]:
        """Finalists that no other one is as good as everywhere; with one objective, ``best``."""
        return tuple(one.finalist for one in self.winners)

    def export(self, folder: str | Path, *, trial: int | None = None) -> None:
        """Write a winner into another folder, checked as ``nas export`` checks it.

        Args:
            folder: Where; must not exist yet, or be empty.
            trial: Which member of a front; None for ``best``.

        Raises:
            NasError: If there is no such member, or the folder holds something or cannot be
                written.
        """
        source = self.winners[0].folder if trial is None else self.folder
        export(find(source, trial=trial).winner, Path(folder))

    @property
    def model(self) -> nn.Module:
        """``best`` with its weights, in eval mode."""
        return load(self.winners[0].folder)

    @property
    def study(self) -> "optuna.Study":
        """The run as an Optuna study, for plots; trial numbers are the ordinals.

        Raises:
            NasError: If the run keeps none (exit code 2).
        """
        from nas.study import load_study  # noqa: PLC0415 - Optuna takes a second to import

        return load_study(self.folder / STUDY, self.folder.resolve().name)


def summary(result: Result, record: Record) -> dict[str, Any]:
    """``summary.json``: what scripts read."""
    finalists = [
        {"trial": one.trial.ordinal, "score": one.mean, "scores": list(one.scores)}
        for one in result.finalists
    ]
    found: dict[str, Any] = {
        **outline(record),
        "objective": result.best.metric,
        "finalists": finalists,
    }
    if len(record.objectives) == 1:
        return {**found, "best": _document(result.winners[0], record)}
    members = [
        {
            "folder": str(one.folder.relative_to(result.folder)),
            "objectives": {
                goal.metric: one.finalist.figure(goal.metric) for goal in record.objectives
            },
            **_document(one, record),
        }
        for one in result.winners
    ]
    volume = covered(record.objectives, [one.figure for one in result.front])
    return {**found, "front": members, "hypervolume": volume}


def _document(winner: Exported, record: Record) -> dict[str, Any]:
    """What ``summary.json`` says of a winner."""
    found, trial, metric = winner.finalist, winner.finalist.trial, record.objective.metric
    return {
        "trial": trial.ordinal,
        "score": found.mean,
        "scores": list(found.scores),
        "search_score": trial.metrics[metric],
        "search_metric": metric,
        "params": trial.params,
        "macs": trial.macs,
        "latency_ms": trial.latency_ms,
        "fidelity": trial.fidelity,
        "genotype": trial.genotype.to_dict(),
        "test": dict(winner.test.metrics),
        "test_by_class": [
            {"class": name, **asdict(one)} for name, one in winner.test.by_class.items()
        ],
        "test_reads": len(record.test_reads),
        "final_training": None if winner.final_training is None else asdict(winner.final_training),
    }


def outline(record: Record) -> dict[str, Any]:
    """The part of ``summary.json`` that a search without a winner has, too."""
    return {
        "schema_version": SCHEMA_VERSION,
        "best": None,
        "front": None,
        "hypervolume": None,
        "finalists": [],
        "objective": record.objective.metric,
        "objectives": [one.metric for one in record.objectives],
        "budget": record.budget,
        "states": dict(record.states()),
        "ended": record.ended,
        "seconds": round(record.seconds, 3),
        "sessions": len(record.sessions),
        "audit": record.audited,
    }
