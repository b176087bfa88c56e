"""Where children are scored: the contract, and the workers inside this process."""

import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import final

from estimators.estimator import Checkpoint, Estimator, Evaluation, EvaluationError
from search_spaces.graph import Graph


@dataclass(frozen=True, slots=True)
class Job:
    """One child to score.

    Attributes:
        key: What the caller calls it; unique among the jobs in hand.
        graph: The network.
        fidelity: Share of full training, in (0, 1].
        seed: Decides all chance in its training.
        start: Where to go on from, or None.
    """

    key: int
    graph: Graph
    fidelity: float
    seed: int
    start: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job has no evaluation.

    Attributes:
        cause: As in ``EvaluationError``, or ``user_code`` for any other exception.
        message: Type and text of the exception.
        trace: Its traceback, for the eye.
    """

    cause: str
    message: str
    trace: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job.

    Attributes:
        key: The job's.
        result: The evaluation, or why there is none.
        seconds: Wall time on the worker.
    """

    key: int
    result: Evaluation | Failure
    seconds: float


class Workers(ABC):
    """Scores jobs, possibly several at once.

    Life cycle: ``submit`` while ``free`` is above 0, then ``wait`` for one outcome; each job has
    exactly one outcome, in any order. ``close`` ends what still runs.
    """

    @property
    @abstractmethod
    def free(self) -> int:
        """How many more jobs would start at once."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Hand over a job; only while ``free`` is above 0."""

    @abstractmethod
    def wait(self) -> Outcome:
        """Wait for the next outcome; only while a job is in hand."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; safe to call twice."""


@final
class InProcessWorkers(Workers):
    """One worker in this process: a job runs inside ``wait``.

    Args:
        estimator: A prepared estimator.
        device: Where it computes.
    """

    def __init__(self, estimator: Estimator, device: str) -> None:
        self._estimator = estimator
        self._device = device
        self._jobs: deque[Job] = deque()

    @property
    def free(self) -> int:
        """1, or 0 while a job is in hand."""
        return 1 - len(self._jobs)

    def submit(self, job: Job) -> None:
        """See the contract."""
        self._jobs.append(job)

    def wait(self) -> Outcome:
        """See the contract."""
        job = self._jobs[0]
        begin = time.monotonic()
        result = run_job(self._estimator, job, device=self._device)
        self._jobs.popleft()
        return Outcome(job.key, result, time.monotonic() - begin)

    def close(self) -> None:
        """Forget the jobs in hand."""
        self._jobs.clear()


def run_job(estimator: Estimator, job: Job, *, device: str) -> Evaluation | Failure:
    """Score one job; every exception becomes a failure: this is the worker's border."""
    try:
        return estimator.evaluate(
            job.graph, fidelity=job.fidelity, seed=job.seed, device=device, start=job.start
        )
    except EvaluationError as error:
        return Failure(error.cause, str(error), traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
        return Failure("user_code", f"{type(error).__name__}: {error}", traceback.format_exc())
