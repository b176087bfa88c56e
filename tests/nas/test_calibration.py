"""What a child costs is told by a part of it, by a clock that only evaluations move."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import torch

from estimators.data import ImageData, Split
from estimators.estimator import Estimator, Evaluation
from nas import calibration
from nas.calibration import LIMIT, SCORED, Calibration, calibrated
from nas.errors import NasError
from nas.workers import Failure


def data(validation: int) -> ImageData:
    """So many validation images; nobody looks at them."""
    split = Split(torch.zeros(validation, 1, 1, 1), torch.zeros(validation, dtype=torch.int64))
    return ImageData("none", split, split, split, ("a",), (0.0,), (1.0,), "0")


class Priced(Estimator):
    """Knows how many images it was prepared with."""

    def __init__(self) -> None:
        self.scored = 0

    def prepare(self, data: ImageData, task: object) -> None:
        self.scored = len(data.validation)

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        return {}

    def evaluate(self, *args: object, **arguments: object) -> Evaluation:
        raise NotImplementedError


@dataclass
class Machine:
    """A clock, and what it charges: seconds to begin, for full training, for 1,000 scores."""

    begin: float
    training: float
    scoring: float
    now: float = 0.0
    shares: list[float] = field(default_factory=list)

    def score(self, estimator: Estimator, fidelity: float) -> Evaluation | Failure:
        assert isinstance(estimator, Priced)
        first = 3.0 if not self.shares else 0.0  # a process warms up
        self.now += first + self.begin + self.training * fidelity
        self.now += self.scoring * estimator.scored / 1000
        self.shares.append(fidelity)
        return Evaluation({"accuracy": fidelity})


def prepared(images: ImageData) -> Estimator:
    made = Priced()
    made.prepare(images, None)
    return made


def calibrate(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    *,
    validation: int = 9_000,
    fidelity: float = 1.0,
) -> Calibration:
    monkeypatch.setattr(calibration.time, "monotonic", lambda: machine.now)
    images = data(validation)
    return calibrated(
        prepared(images), images, prepared=prepared, score=machine.score, fidelity=fidelity
    )


@pytest.mark.parametrize("training", [20.0, 200.0, 20_000.0])
@pytest.mark.parametrize("fidelity", [1.0, 0.25])
def test_a_long_training_is_told_from_its_beginning(
    training: float, fidelity: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(0.5, training / fidelity, 3.0)
    found = calibrate(machine, monkeypatch, fidelity=fidelity)
    assert found.seconds == pytest.approx(0.5 + training + 27.0)
    assert found.fidelity < fidelity
    assert found.metrics == {"accuracy": found.fidelity}
    assert machine.now < 2 * LIMIT + 20


def test_a_short_one_is_trained_whole_and_scored_on_all_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(0.1, 2.0, 1.0)
    assert calibrate(machine, monkeypatch) == Calibration(
        pytest.approx(11.1), 1.0, {"accuracy": 1.0}
    )
    assert machine.shares.count(1.0) == 1


def test_what_trains_nothing_is_timed_by_its_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(1.0, 0.0, 10.0)
    assert calibrate(machine, monkeypatch).seconds == pytest.approx(91.0)


def test_all_images_are_scored_where_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(0.5, 500.0, 3.0)
    found = calibrate(machine, monkeypatch, validation=2 * SCORED)
    assert found.seconds == pytest.approx(0.5 + 500 + 0.006 * SCORED)


def test_a_failure_is_told_in_one_line() -> None:
    def fails(estimator: Estimator, fidelity: float) -> Failure:
        return Failure("nan", "the loss became nan", "")

    images = data(4)
    with pytest.raises(NasError, match="the child failed: nan: the loss became nan") as caught:
        calibrated(prepared(images), images, prepared=prepared, score=fails, fidelity=1.0)
    assert caught.value.exit_code == 3
