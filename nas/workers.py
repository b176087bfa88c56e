"""Where children are scored: the contract, and the workers inside this process."""

import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from estimators.estimator import Checkpoint, Estimator, Evaluation, EvaluationError
from estimators.task import Metric
from nas.loading import build_meta
from search_spaces.graph import Graph

LOST = frozenset({"worker_died", "node_lost"})  # causes of failures that are no fault of the job's
RETRIES = 1  # of a job whose worker was lost; every other failure is its own
MESSAGE, TRACE = 2000, 20_000  # most characters of a failure that are kept


@dataclass(frozen=True, slots=True)
class Job:
    """One child to score.

    Attributes:
        key: What the caller calls it; unique among the jobs in hand.
        graph: The network.
        fidelity: Share of full training, in (0, 1].
        seed: Decides all chance in its training.
        weights: Whether the evaluation brings weights back; most are only scores, and weights have
            a long way from a worker.
        checkpoint: Whether it brings back where to go on from.
        start: Where to go on from; None for the start.
    """

    key: int
    graph: Graph
    fidelity: float
    seed: int
    weights: bool = False
    checkpoint: bool = False
    start: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job has no evaluation.

    Attributes:
        cause: As in ``EvaluationError``; ``plugin`` for an evaluation that breaks the contract,
            ``user_code`` for any other exception; ``timeout`` for a child that was killed because
            it took too long; ``worker_died`` or ``node_lost`` where the worker was lost under it.
        message: Type and text of the exception.
        trace: Its traceback, for the eye; empty if there is none.
    """

    cause: str
    message: str
    trace: str

    @property
    def is_lost(self) -> bool:
        """Whether the worker was lost, which is no fault of the job's."""
        return self.cause in LOST


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


@dataclass(frozen=True, slots=True)
class Activity:
    """What one worker does, for the eye.

    Attributes:
        worker: What to call it.
        key: Key of its job; None while it has none.
        state: ``starting``, ``idle`` or ``busy``.
        seconds: Since when.
    """

    worker: str
    key: int | None
    state: Literal["starting", "idle", "busy"]
    seconds: float


class Workers(ABC):
    """Scores jobs, possibly several at once.

    Life cycle: ``submit`` while ``free`` is above 0, ``wait`` for outcomes; each job has exactly
    one outcome, in any order. ``free`` can be 0 with no job in hand, while workers start; ``wait``
    then returns when one has. ``close`` ends what still runs. Nothing is retried here: a worker
    that is lost is replaced, and its job has a failure.
    """

    @property
    @abstractmethod
    def free(self) -> int:
        """How many more jobs would start at once."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Hand over a job; only while ``free`` is above 0."""

    @abstractmethod
    def wait(self, timeout: float) -> Outcome | None:
        """The next outcome; None after ``timeout`` seconds, or earlier if a worker became free.

        Raises:
            NasError: If there are no workers left and none can be started (exit code 5).
        """

    @abstractmethod
    def activity(self) -> tuple[Activity, ...]:
        """What each worker does, in a fixed order."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; safe to call twice."""


@final
class InProcessWorkers(Workers):
    """One worker in this process: a job runs inside ``wait``.

    Args:
        estimator: A prepared estimator.
        device: Where it computes.
        metrics: What it returns.
    """

    def __init__(self, estimator: Estimator, device: str, *, metrics: Mapping[str, Metric]) -> None:
        self._estimator = estimator
        self._device = device
        self._metrics = metrics
        self._job: Job | None = None
        self._since = time.monotonic()

    @property
    def free(self) -> int:
        """1, or 0 while a job is in hand."""
        return 1 if self._job is None else 0

    def submit(self, job: Job) -> None:
        """See the contract."""
        self._job, self._since = job, time.monotonic()

    def wait(self, timeout: float) -> Outcome | None:
        """See the contract; a job is run to its end, however long that takes."""
        job = self._job
        if job is None:
            return None
        begin = time.monotonic()
        result = run_job(self._estimator, job, device=self._device, metrics=self._metrics)
        self.close()
        return Outcome(job.key, result, time.monotonic() - begin)

    def activity(self) -> tuple[Activity, ...]:
        """See the contract."""
        key = None if self._job is None else self._job.key
        state: Literal["idle", "busy"] = "idle" if self._job is None else "busy"
        return (Activity("in process", key, state, time.monotonic() - self._since),)

    def close(self) -> None:
        """Forget the job in hand."""
        self._job, self._since = None, time.monotonic()


def run_job(
    estimator: Estimator, job: Job, *, device: str, metrics: Mapping[str, Metric]
) -> Evaluation | Failure:
    """Score one job; every exception becomes a failure: this is the worker's border.

    Args:
        estimator: A prepared estimator.
        job: What to score.
        device: Where to compute.
        metrics: What the estimator returns; an evaluation that lacks a required one, or holds what
            is not a number in its range, is a failure.
    """
    try:
        found = checked(
            estimator.evaluate(
                job.graph, fidelity=job.fidelity, seed=job.seed, device=device, start=job.start
            ),
            metrics,
        )
        if job.weights:
            _check_weights(found.weights, job.graph)
    except EvaluationError as error:
        return Failure(error.cause, str(error)[:MESSAGE], traceback.format_exc()[-TRACE:])
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plug-in may raise anything
        message = "".join(traceback.format_exception_only(error)).strip()
        return Failure("user_code", message[:MESSAGE], traceback.format_exc()[-TRACE:])
    return replace(
        found,
        weights=found.weights if job.weights else None,
        checkpoint=found.checkpoint if job.checkpoint else None,
    )


def checked(found: object, metrics: Mapping[str, Metric]) -> Evaluation:
    """What a plug-in returned, with plain floats.

    Raises:
        EvaluationError: If it is not what the contract says.
    """
    if not isinstance(found, Evaluation):
        raise EvaluationError(f"must be an Evaluation, got {found!r:.80}", cause="plugin")
    missing = [
        name for name, metric in metrics.items() if metric.required and name not in found.metrics
    ]
    if missing:
        raise EvaluationError(f"metric {missing[0]} is missing", cause="plugin")
    unlimited = Metric("maximize")
    return replace(
        found,
        metrics={
            name: _number(name, value, metrics.get(name, unlimited))
            for name, value in found.metrics.items()
        },
        details={name: _number(name, value, unlimited) for name, value in found.details.items()},
    )


def _check_weights(weights: object, graph: Graph) -> None:
    """Check that weights, if there are any, are a state dict of the network.

    Raises:
        EvaluationError: If they are not.
    """
    if weights is None:
        return
    expected = build_meta(graph).state_dict()
    if not isinstance(weights, Mapping) or set(weights) != set(expected):
        raise EvaluationError("weights must be a state dict of the network", cause="plugin")
    for name, value in weights.items():
        wanted = expected[name]
        kind = (wanted.shape, wanted.dtype, "cpu")
        if not isinstance(value, Tensor) or (value.shape, value.dtype, value.device.type) != kind:
            raise EvaluationError(
                f"weights: {name} must be {wanted.dtype} of shape {tuple(wanted.shape)} on the CPU",
                cause="plugin",
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise EvaluationError(f"weights: {name} is not finite", cause="nan")


def _number(name: str, value: object, metric: Metric) -> float:
    """A real scalar of Python, numpy or torch as a float.

    Raises:
        EvaluationError: If it is something else, not finite, or out of the metric's range.
    """
    plain: Any = value
    if isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0:
        plain = value.item()
    real = isinstance(plain, int | float) and not isinstance(plain, bool)
    if real and abs(plain) <= sys.float_info.max and metric.lowest <= plain <= metric.highest:
        return float(plain)
    raise EvaluationError(
        f"{name} must be a number from {metric.lowest} to {metric.highest}, got {value!r:.80}",
        cause="plugin",
    )
