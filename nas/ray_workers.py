"""Workers in processes of their own, on this machine or a cluster: long-lived Ray actors."""

import math
import os
import pickle
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, final

import ray
import torch
from ray.exceptions import (
    ActorUnavailableError,
    GetTimeoutError,
    OutOfMemoryError,
    RayError,
    RaySystemError,
    RayTaskError,
)

from estimators.estimator import Estimator
from estimators.task import Metric
from nas.errors import NasError, usage_error
from nas.ray_session import RaySession, capacity, line_of
from nas.run_folder import versions
from nas.workers import Activity, Failure, Job, Outcome, Workers, run_job

FETCH_SECONDS = 15.0  # for an answer that is there already
START_SECONDS = 60.0  # for the first worker, where the cluster is busy
LOOK_EVERY = 5.0  # seconds between looks at the nodes
SPARE_STARTS = 3  # workers in a row that die before they are ready
WORKER_MEMORY = 2**30  # bytes that ``auto`` grants a worker


class _Actor:
    """What runs in a worker process: the estimator, and one job after another."""

    def __init__(self, parts: tuple[Estimator, str, Mapping[str, Metric]]) -> None:
        self._estimator, self._device, self._metrics = parts
        if self._device == "cpu":  # more threads than CPUs are slower by far
            torch.set_num_threads(1)

    def ready(self) -> dict[str, Any]:
        """Who this is; an error if the device cannot be used here."""
        torch.zeros(1, device=self._device)
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "node": ray.get_runtime_context().get_node_id(),
            "versions": versions(),
        }

    def run(self, pickled: bytes) -> Outcome:
        """Score the child of a pickled job."""
        job: Job = pickle.loads(pickled)  # noqa: S301 - made by the driver
        begin = time.monotonic()
        result = run_job(self._estimator, job, device=self._device, metrics=self._metrics)
        return Outcome(job.key, result, time.monotonic() - begin)


@dataclass(slots=True)
class _Slot:
    """A place for a worker; the worker in it may change.

    Attributes:
        actor: Handle of the worker.
        pending: What it is doing: ``ready`` while it starts, ``run`` while it is busy.
        state: As in ``Activity``.
        since: When that began, on the monotonic clock.
        job: What it trains.
        name: What to call it.
        node: Where it is, in Ray's terms; empty before it has told.
    """

    actor: Any
    pending: Any
    state: Literal["starting", "idle", "busy"]
    since: float
    job: Job | None = None
    name: str = "worker"
    node: str = ""


@final
class RayWorkers(Workers):
    """Long-lived actors; estimator and data go to each of them once.

    An actor that hangs or dies is replaced by a new one, as calls to one that is being restarted
    fail. Closing leaves the session open.

    Args:
        session: Started.
        estimator: Prepared; pickled into the object store once.
        device: Where a worker computes; ``cuda`` is the card that Ray assigns to it.
        metrics: What evaluations hold.
        count: Workers; None for as many as fit, at ``WORKER_MEMORY`` each, and for more as nodes
            join.
        most: Never more workers than this.
        gpus_per_child: Cards that each reserves: up to 1, or a whole number.
        child_timeout: Seconds after which a child is killed; None for 20 times the longest so
            far, at least 600, and no limit before the first has a score.

    Raises:
        NasError: If the cluster can never hold so many (exit code 5), or the estimator cannot be
            pickled (2).
    """

    def __init__(  # noqa: PLR0913 - what a worker needs
        self,
        session: RaySession,
        estimator: Estimator,
        device: str,
        *,
        metrics: Mapping[str, Metric],
        count: int | None,
        most: int,
        gpus_per_child: float,
        child_timeout: float | None,
    ) -> None:
        self._session = session
        self._device = device
        self._gpus = gpus_per_child
        self._timeout = child_timeout
        self._longest = 0.0
        self._grows = count is None
        self._most = most
        self._looked = time.monotonic()
        self._failed_starts = 0
        self._slots: list[_Slot] = []
        session.check_room(count, gpus_per_child)
        wanted = self._fitting() if count is None else min(count, most)
        self._parts = _shared((estimator, device, dict(metrics)))
        self._actor = ray.remote(_Actor)
        self._slots = [self._new_slot() for _ in range(wanted)]

    @property
    def free(self) -> int:
        """Workers that are ready and have no job."""
        return sum(slot.state == "idle" for slot in self._slots)

    def submit(self, job: Job) -> None:
        """See the contract."""
        slot = next(slot for slot in self._slots if slot.state == "idle")
        # A network is a thousand small objects, which plain pickle is three times as fast with.
        slot.pending = slot.actor.run.remote(pickle.dumps(job, protocol=5))
        slot.state, slot.since, slot.job = "busy", time.monotonic(), job

    def wait(self, timeout: float) -> Outcome | None:
        """See the contract."""
        end = time.monotonic() + timeout
        while True:
            for slot in self._slots:  # one that is done is not overdue, however late we look
                if self._is_overdue(slot) and not ray.wait([slot.pending], timeout=0)[0]:
                    return self._kill(slot)
            self._look_around()
            pending = {slot.pending: slot for slot in self._slots if slot.state != "idle"}
            if not pending:
                return None
            left = max(0.0, min(end, self._next_look()) - time.monotonic())
            done, _ = ray.wait(list(pending), num_returns=1, timeout=left)
            if done:
                return self._answer(pending[done[0]])
            self._check_starting()
            if time.monotonic() >= end:
                return None

    def activity(self) -> tuple[Activity, ...]:
        """See the contract."""
        now = time.monotonic()
        return tuple(
            Activity(
                slot.name,
                None if slot.job is None else slot.job.key,
                slot.state,
                now - slot.since,
            )
            for slot in self._slots
        )

    def close(self) -> None:
        """Kill all workers, busy or not; safe to call twice."""
        slots, self._slots = self._slots, []
        for slot in slots:
            with suppress(RayError, RuntimeError):
                ray.kill(slot.actor)

    def _new_slot(self) -> _Slot:
        actor, ready = self._new_actor()
        return _Slot(actor, ready, "starting", time.monotonic())

    def _new_actor(self) -> tuple[Any, Any]:
        options = {"num_cpus": 1, "num_gpus": self._gpus, "max_restarts": 0, "max_task_retries": 0}
        actor: Any = self._actor.options(**options).remote(self._parts)
        return actor, actor.ready.remote()

    def _replace(self, slot: _Slot) -> None:
        with suppress(RayError):
            ray.kill(slot.actor)
        slot.actor, slot.pending = self._new_actor()
        slot.name, slot.node = "worker", ""
        slot.state, slot.since, slot.job = "starting", time.monotonic(), None

    def _next_look(self) -> float:
        """When, on the monotonic clock, there may be something to do beside waiting."""
        limits = [slot.since + self._limit() for slot in self._slots if slot.state == "busy"]
        return min([time.monotonic() + LOOK_EVERY, *limits])

    def _is_overdue(self, slot: _Slot) -> bool:
        return slot.state == "busy" and time.monotonic() - slot.since > self._limit()

    def _limit(self) -> float:
        """Seconds a child may take."""
        if self._timeout is not None:
            return self._timeout
        return max(600.0, 20 * self._longest) if self._longest else math.inf

    def _kill(self, slot: _Slot) -> Outcome:
        job, seconds = slot.job, time.monotonic() - slot.since
        assert job is not None  # noqa: S101 - it is busy
        self._replace(slot)
        limit = f"took longer than {self._limit():g} s and was killed"
        return Outcome(job.key, Failure("timeout", limit, ""), seconds)

    def _answer(self, slot: _Slot) -> Outcome | None:
        """What a worker has to say: its outcome, or nothing if it has started."""
        if slot.state == "starting":
            self._welcome(slot)
            return None
        return self._outcome(slot)

    def _outcome(self, slot: _Slot) -> Outcome:
        """What a busy worker has brought."""
        job, seconds = slot.job, time.monotonic() - slot.since
        assert job is not None  # noqa: S101 - it is busy
        try:
            outcome: Outcome = ray.get(slot.pending, timeout=FETCH_SECONDS)
        except (RayTaskError, RaySystemError) as error:  # a result that cannot be sent, or read
            slot.state, slot.since, slot.job = "idle", time.monotonic(), None
            return Outcome(job.key, Failure("plugin", line_of(error), ""), seconds)
        except (RayError, GetTimeoutError) as error:
            failure = self._lost(error, slot)
            self._replace(slot)
            return Outcome(job.key, failure, seconds)
        slot.state, slot.since, slot.job = "idle", time.monotonic(), None
        if not isinstance(outcome.result, Failure):
            self._longest = max(self._longest, outcome.seconds)
        return outcome

    def _welcome(self, slot: _Slot) -> None:
        """A worker has started, or failed to.

        Raises:
            NasError: If it never will (exit code 5).
        """
        try:
            found = ray.get(slot.pending, timeout=FETCH_SECONDS)
        except RayTaskError as error:
            raise NasError(
                f"workers: {self._device} cannot be used there: {line_of(error)}", exit_code=5
            ) from error
        except (RayError, GetTimeoutError) as error:
            self._failed_starts += 1
            if self._failed_starts >= SPARE_STARTS or "__init__" in str(error):
                raise NasError(f"workers: cannot start: {line_of(error)}", exit_code=5) from error
            self._replace(slot)
            return
        self._failed_starts = 0
        slot.name, slot.node = f"{found['host']}:{found['pid']}", found["node"]
        mine = versions()
        for package in ("nas-engine", "torch"):
            theirs = found["versions"][package]
            if theirs != mine[package]:
                raise NasError(
                    f"workers: {found['host']} has {package} {theirs}, here is {mine[package]}; "
                    "install the same",
                    exit_code=5,
                )
        slot.state, slot.since = "idle", time.monotonic()

    def _check_starting(self) -> None:
        """Give up where no worker has started for long and none is there.

        Raises:
            NasError: Then (exit code 5).
        """
        now = time.monotonic()
        if all(
            slot.state == "starting" and now - slot.since > START_SECONDS for slot in self._slots
        ):
            raise NasError(
                f"workers: none could be started within {START_SECONDS:g} s: "
                f"{self._session.exists()}, perhaps in use by others",
                exit_code=5,
            )

    def _look_around(self) -> None:
        """Now and then: notice a head that is gone, use nodes that have joined.

        Raises:
            NasError: If the head is gone (exit code 5).
        """
        if time.monotonic() - self._looked < LOOK_EVERY:
            return
        fitting = self._fitting()
        self._looked = time.monotonic()
        if self._grows:
            missing = fitting - len(self._slots)
            self._slots += [self._new_slot() for _ in range(missing)]

    def _fitting(self) -> int:
        """Workers for ``auto``."""
        nodes = self._session.nodes().values()
        memory = sum(node.get("memory", 0.0) for node in nodes)
        by_memory = max(1, int(memory // WORKER_MEMORY))
        return min(self._most, capacity(nodes, self._gpus), by_memory)

    def _lost(self, error: Exception, slot: _Slot) -> Failure:
        """Why a worker did not answer."""
        text = str(error).lower().partition("some common")[0]
        if isinstance(error, OutOfMemoryError) or "out of memory" in text:
            return Failure("oom_host", f"{slot.name} ran out of memory: {line_of(error)}", "")
        # Of a worker that died, its node tells; where that is silent, Ray calls it unavailable.
        if isinstance(error, ActorUnavailableError) or slot.node not in self._session.nodes():
            return Failure("node_lost", f"the node of {slot.name} was lost", "")
        return Failure("worker_died", f"{slot.name} died: {line_of(error)}", "")


def _shared(parts: tuple[Estimator, str, Mapping[str, Metric]]) -> Any:
    """Where workers find what each of them needs.

    Raises:
        NasError: If it cannot be pickled (exit code 2).
    """
    try:
        return ray.put(parts)
    except Exception as error:  # what a plug-in holds may raise anything
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.200}"
        raise usage_error(
            f"estimator: cannot be sent to workers: {reason}; --workers 0 does without"
        ) from error
