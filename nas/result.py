"""What a search found, and the ``summary.json`` that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from estimators.class_figures import ClassFigures
from nas.export import export
from nas.finalists import Finalist
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
class Result:
    """What a search found.

    Attributes:
        folder: The run folder.
        best: The finalist with the best mean score over fresh seeds.
        finalists: All of them, best first.
        trials: Every ask, in order.
        test: Every metric of ``best`` on the test split.
        test_by_class: Support, recall, precision and F1 there, by name of the class.
        ended: Why the search ended.
        seconds: Time worked on the run, over all sessions.
        weights_check: Largest relative difference between the exported source and the network.
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

    def export(self, folder: str | Path) -> None:
        """Write the winner into another folder, checked as ``nas export`` checks it.

        Raises:
            NasError: If the folder holds something or cannot be written.
        """
        export(find(self.folder).winner, Path(folder))

    @property
    def model(self) -> nn.Module:
        """The winner with its weights, in eval mode."""
        return load(self.folder)

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
    best, objective = result.best, record.objective
    document = {
        "trial": best.trial.ordinal,
        "score": best.mean,
        "scores": list(best.scores),
        "search_score": best.trial.metrics[objective.metric],
        "params": best.trial.params,
        "macs": best.trial.macs,
        "latency_ms": best.trial.latency_ms,
        "fidelity": best.trial.fidelity,
        "genotype": best.trial.genotype.to_dict(),
        "test": dict(result.test),
        "test_by_class": [
            {"class": name, **asdict(one)} for name, one in result.test_by_class.items()
        ],
        "test_reads": len(record.test_reads),
    }
    finalists = [
        {"trial": one.trial.ordinal, "score": one.mean, "scores": list(one.scores)}
        for one in result.finalists
    ]
    return {**outline(record), "best": document, "finalists": finalists}


def outline(record: Record) -> dict[str, Any]:
    """The part of ``summary.json`` that a search without a winner has, too."""
    return {
        "schema_version": SCHEMA_VERSION,
        "best": None,
        "front": None,
        "finalists": [],
        "objective": record.objective.metric,
        "budget": record.budget,
        "states": dict(record.states()),
        "ended": record.ended,
        "seconds": round(record.seconds, 3),
        "sessions": len(record.sessions),
    }
