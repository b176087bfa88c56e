"""Measurements are made once, tried again where a worker was lost, and stop when told to."""

import itertools
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from estimators.estimator import Estimator, Evaluation
from nas.audit.measurements import Measurements, Wanted
from nas.audit.subjects import Subject
from nas.children import Child
from nas.interrupts import Interrupted, Interrupts
from nas.limits import Objective
from nas.workers import Activity, Failure, Job, Outcome, Workers
from search_spaces.genome import Genotype


class Scripted(Workers):
    """Answers each job by the next of some results, the last one for ever; two at a time."""

    def __init__(self, *results: Evaluation | Failure, then: Callable[[], None] = int) -> None:
        self._results = itertools.chain(results, itertools.repeat(results[-1]))
        self._jobs: deque[Job] = deque()
        self._then = then
        self.submitted: list[int] = []

    @property
    def free(self) -> int:
        return 2 - len(self._jobs)

    def submit(self, job: Job) -> None:
        self._jobs.append(job)
        self.submitted.append(job.seed)

    def wait(self, timeout: float) -> Outcome | None:
        self._then()
        return Outcome(self._jobs.popleft().key, next(self._results), 1.5)

    def activity(self) -> tuple[Activity, ...]:
        return ()

    def close(self) -> None:
        pass


GOOD = Evaluation({"score": 0.5})
LOST = Failure("worker_died", "gone", "")
BAD = Failure("nan", "diverged", "")


@pytest.fixture
def subject(cheap: type[Estimator]) -> Subject:
    return Subject("cheap", cheap(), 1.0, Objective("score", "maximize"), "recipe")


def wanted(subject: Subject, count: int) -> list[Wanted]:
    return [
        Wanted(
            subject,
            Child(Genotype(()), None, None, f"digest {at}", 1, 1),  # type: ignore[arg-type]
            0,
            at,
        )
        for at in range(count)
    ]


def measurements(tmp_path: Path) -> Measurements:
    return Measurements(tmp_path / "measured.jsonl", lambda _: None)


def interrupts() -> Interrupts:
    return Interrupts(30.0, lambda _: None)


def test_each_is_made_once_and_known_from_then_on(subject: Subject, tmp_path: Path) -> None:
    ones = wanted(subject, 3)
    workers = Scripted(GOOD)
    with measurements(tmp_path) as known:
        known.measure([*ones, *ones], workers, interrupts())
        known.measure(ones, workers, interrupts())
    assert workers.submitted == [0, 1, 2]
    with measurements(tmp_path) as known:
        assert known.missing(ones) == []
        found: Any = known.of(ones[1])
        assert (found.metrics, found.seconds, found.cause) == ({"score": 0.5}, 1.5, "")


def test_a_lost_worker_is_forgiven_once(subject: Subject, tmp_path: Path) -> None:
    (one,) = wanted(subject, 1)
    with measurements(tmp_path) as known:
        known.measure([one], Scripted(LOST, GOOD), interrupts())
        found: Any = known.of(one)
    assert found.metrics == {"score": 0.5}


def test_a_failure_is_recorded_with_its_cause_and_not_tried_again(
    subject: Subject, tmp_path: Path
) -> None:
    lost, bad = wanted(subject, 2)
    with measurements(tmp_path) as known:
        known.measure([lost], Scripted(LOST), interrupts())
        workers = Scripted(BAD)
        known.measure([bad, lost], workers, interrupts())
        assert workers.submitted == [1]
        causes = [known.of(one).cause for one in (lost, bad)]  # type: ignore[union-attr]
    assert causes == ["worker_died", "nan"]


def test_after_a_signal_nothing_more_is_begun_and_what_runs_is_kept(
    subject: Subject, tmp_path: Path
) -> None:
    ones, asked = wanted(subject, 5), interrupts()

    def signal() -> None:
        asked.requested = 2

    workers = Scripted(GOOD, then=signal)
    with measurements(tmp_path) as known, pytest.raises(Interrupted):
        known.measure(ones, workers, asked)
    assert workers.submitted == [0, 1]
    with measurements(tmp_path) as known:
        assert len(known.missing(ones)) == 3


def test_recipe_fidelity_network_and_seed_tell_measurements_apart(subject: Subject) -> None:
    (one,) = wanted(subject, 1)
    others = [
        Wanted(subject, one.child, 1, 0),
        wanted(subject, 2)[1],
        Wanted(Subject("x", subject.estimator, 0.5, subject.objective, "recipe"), one.child, 0, 0),
        Wanted(Subject("x", subject.estimator, 1.0, subject.objective, "other"), one.child, 0, 0),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5
