"""What a search found, and the ``summary.json`` that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from estimators.class_figures import ClassFigures
from nas.comparison import Comparison
from nas.export import export
from nas.finalists import Finalist
from nas.front import covered
from nas.loading import find, load
from nas.readings import Kept, Who, named
from nas.record import Record
from nas.run_folder import BEST, STUDY
from nas.trial import Trial
from search_spaces.architecture import Architecture
from search_spaces.graph import Graph

if TYPE_CHECKING:
    import optuna

SCHEMA_VERSION = 1
Recipe = Mapping[str, float | int | str]


@dataclass(frozen=True, slots=True)
class TestFigures:
    """What the test images say of a network.

    Attributes:
        metrics: Every metric of the task.
        by_class: Figures by name of the class; empty for runs of old.
        hits: Which images were recognised, as ``nas.comparison.packed`` writes it; likewise.
    """

    __test__ = False  # its name looks like that of a test

    metrics: Mapping[str, float]
    by_class: Mapping[str, ClassFigures]
    hits: str = ""

    @classmethod
    def of(cls, event: Mapping[str, Any], classes: Sequence[str]) -> "TestFigures":
        """As a ``test_read`` event has it."""
        known = [ClassFigures(**one) for one in event.get("by_class", ())]
        by_class = dict(zip(classes, known, strict=False))
        return cls(dict(event["metrics"]), by_class, event.get("hits", ""))


@dataclass(frozen=True, slots=True)
class Trained:
    """A network with the weights that it is exported with.

    Attributes:
        who: The trial that found it, or the name of a published network.
        architecture: Its readable form.
        graph: The network.
        weights: Where they lie.
        recipe: How they were trained.
        score: The run's metric on validation images.
    """

    who: Who
    architecture: Architecture
    graph: Graph
    weights: Kept
    recipe: Recipe
    score: float

    @property
    def name(self) -> str:
        """What it is, for the eye."""
        return named(self.who)


@dataclass(frozen=True, slots=True)
class Reference:
    """The published network that the winner was compared with.

    Attributes:
        trained: The network.
        test: What the test images say of it.
        comparison: What came of it.
    """

    trained: Trained
    test: TestFigures
    comparison: Comparison


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
        test: Every metric of what was handed over on the test split.
        test_by_class: Support, recall, precision and F1 there, by name of the class.
        ended: Why the search ended.
        seconds: Time worked on the run, over all sessions.
        weights_check: Largest relative difference between the exported source and the network.
        winners: What the search found: ``best``, or with several objectives every member of the
            front.
        reference: The published network that ``best`` was compared with; None if it was with none.
            Where that one is better (``reference.comparison.is_reference``), the folder ``best`` of
            the run holds it, and ``searched`` holds what the search found.
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
    reference: Reference | None = None

    @property
    def handed_over(self) -> Path:
        """Folder of the better of ``best`` and ``reference``."""
        lost = self.reference is not None and self.reference.comparison.is_reference
        return self.folder / BEST if lost else self.winners[0].folder

    @property
    def front(self) -> tuple[Finalist, ...]:
        """Finalists that no other one is as good as everywhere; with one objective, ``best``."""
        return tuple(one.finalist for one in self.winners)

    def export(self, folder: str | Path, *, trial: int | None = None) -> None:
        """Write a winner into another folder, checked as ``nas export`` checks it.

        Args:
            folder: Where; must not exist yet, or be empty.
            trial: Which member of a front; None for what was handed over.

        Raises:
            NasError: If there is no such member, or the folder holds something or cannot be
                written.
        """
        source = self.handed_over if trial is None else self.folder
        export(find(source, trial=trial).winner, Path(folder))

    @property
    def model(self) -> nn.Module:
        """What was handed over, with its weights, in eval mode."""
        return load(self.handed_over)

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
        return {**found, **_best(result, record)}
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


def _best(result: Result, record: Record) -> dict[str, Any]:
    """What was handed over, and what was compared."""
    searched, reference = _document(result.winners[0], record), result.reference
    if reference is None:
        return {"best": searched}
    comparison = reference.comparison.document()
    if not reference.comparison.is_reference:
        return {"best": searched, "comparison": comparison}
    side, test = reference.comparison.reference, reference.test
    best = {
        "trial": None,
        "reference": side.name,
        "score": side.score,
        "scores": [side.score],
        "search_score": None,
        "search_metric": None,
        "params": side.params,
        "macs": side.macs,
        "latency_ms": side.latency_ms,
        "fidelity": 1.0,
        "genotype": None,
        **_tested(test, record),
        "final_training": {"epochs": side.epochs, "score": side.score, "used": True},
    }
    return {"best": best, "searched": searched, "comparison": comparison}


def _tested(test: TestFigures, record: Record) -> dict[str, Any]:
    """What the test images say."""
    return {
        "test": dict(test.metrics),
        "test_by_class": [{"class": name, **asdict(one)} for name, one in test.by_class.items()],
        "test_reads": len(record.test_reads),
    }


def _document(winner: Exported, record: Record) -> dict[str, Any]:
    """What ``summary.json`` says of a winner."""
    found, trial, metric = winner.finalist, winner.finalist.trial, record.objective.metric
    return {
        "trial": trial.ordinal,
        "reference": None,
        "score": found.mean,
        "scores": list(found.scores),
        "search_score": trial.metrics[metric],
        "search_metric": metric,
        "params": trial.params,
        "macs": trial.macs,
        "latency_ms": trial.latency_ms,
        "fidelity": trial.fidelity,
        "genotype": trial.genotype.to_dict(),
        **_tested(winner.test, record),
        "final_training": None if winner.final_training is None else asdict(winner.final_training),
    }


def outline(record: Record) -> dict[str, Any]:
    """The part of ``summary.json`` that a search without a winner has, too."""
    return {
        "schema_version": SCHEMA_VERSION,
        "best": None,
        "searched": None,
        "comparison": None,
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
