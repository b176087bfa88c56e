"""Workers in processes of their own, on this machine or a cluster: long-lived Ray actors."""

import logging
import math
import os
import pickle
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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
from nas.interrupts import Interrupted
from nas.run_folder import versions
from nas.workers import Activity, Failure, Job, Outcome, Workers, run_job

PROBE_SECONDS = 5.0
FETCH_SECONDS = 15.0  # for an answer that is there already
HEAD_SECONDS = 20.0  # that a cluster may be without its head; after 60 Ray ends this process
START_SECONDS = 60.0  # for the first worker, where the cluster is busy
LOOK_EVERY = 5.0  # seconds between looks at the nodes
SPARE_STARTS = 3  # workers in a row that die before they are ready
WORKER_MEMORY = 2**30  # bytes that ``auto`` grants a worker
PREFIX = "nas-ray-"  # of temporary folders; the pid of the driver follows

# For a Ray that we start: normal priority, threads that wait without spinning, no reports to
# anybody, and no warning about cards that are hidden from workers without any.
_ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
}


@final
class RaySession:
    """A connection to a Ray cluster, or to a Ray of our own on this machine.

    Where Ray is initialised already, as in a notebook, that one is used and left as it is.

    Args:
        address: ``host:port`` of a cluster; None starts Ray here, without its dashboard.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._folder: Path | None = None
        self._ours = False

    def start(self) -> None:
        """Connect, or start Ray; 4 s on this machine.

        Raises:
            NasError: If the address is malformed (exit code 2), no Ray answers there, or Ray
                does not start (5).
        """
        if self._address is not None:
            self._join(self._address)
        elif not ray.is_initialized():
            self._start_here()

    @property
    def here(self) -> bool:
        """Whether workers are on this machine."""
        return self._address is None

    def nodes(self) -> dict[str, dict[str, float]]:
        """Resources of each node that is alive, by its identifier.

        Raises:
            NasError: If the cluster has lost its head (exit code 5).
        """
        self._await_head()
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}

    @property
    def gpus(self) -> float:
        """Cards of all nodes."""
        return sum(node.get("GPU", 0.0) for node in self.nodes().values())

    def check_room(self, count: int | None, gpus_per_child: float) -> None:
        """Check that so many workers can be placed; None for one at least.

        Raises:
            NasError: If the cluster can never hold them (exit code 5); says what exists.
        """
        wanted = 1 if count is None else count
        if wanted > capacity(self.nodes().values(), gpus_per_child):
            raise NasError(
                f"--workers: {wanted} of 1 CPU and {gpus_per_child:g} GPUs each cannot be placed: "
                f"{self.exists()}; ask for less",
                exit_code=5,
            )

    def exists(self) -> str:
        """What there is, in words."""
        nodes = self.nodes().values()
        cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
        where = "this machine has" if self._address is None else f"{len(nodes)} nodes have"
        return f"{where} {cpus:g} CPUs and {gpus:g} GPUs"

    def close(self) -> None:
        """Leave the cluster, or end Ray here and all it left; safe to call twice."""
        if self._ours:
            self._ours = False
            ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _await_head(self) -> None:
        """Wait until the head takes connections; asked something without one, Ray never answers.

        Raises:
            NasError: If it does not for long (exit code 5).
        """
        address = ray.get_runtime_context().gcs_address
        host, _, port = address.rpartition(":")
        end = time.monotonic() + HEAD_SECONDS
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1.0).close()
            except OSError as error:
                if time.monotonic() < end:
                    time.sleep(0.2)
                    continue
                raise NasError(
                    f"ray: the head of the cluster at {address} is gone ({error}); start it again, "
                    "then go on with `nas resume`",
                    exit_code=5,
                ) from error
            return

    def _start_here(self) -> None:
        _remove_leftovers()
        self._ours = True
        prefix = f"{PREFIX}{os.getpid()}-"
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_short_folder()))
        except OSError as error:
            raise NasError(
                f"ray: cannot make a folder in {_short_folder()}: {error.strerror}", exit_code=5
            ) from error
        if not _has_token():
            # Ray would write one into the home folder, readable by all; it stays for this process,
            # as Ray reads it once.
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        # Workers are to find the modules that this process finds.
        wanted = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_ENVIRONMENT}
        before = {name: os.environ.get(name) for name in wanted}
        mine = {name for name in _ENVIRONMENT if before[name] is not None}  # the user's stay
        os.environ.update({name: wanted[name] for name in wanted if name not in mine})
        started = False
        try:
            ray.init(
                address="local",  # whatever RAY_ADDRESS says
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(self._folder),
            )
            started = True
        except SystemExit as error:  # Ray has put its own handler of SIGTERM in place by then
            raise Interrupted(signal.SIGTERM) from error
        except Exception as error:  # of a busy machine Ray tells by a plain one
            raise NasError(
                f"ray: cannot start on this machine: {_line(error)}; --workers 0 does without",
                exit_code=5,
            ) from error
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            if not started:  # an interrupt leaves nothing either
                self.close()

    def _join(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or "/" in address:
            raise usage_error(f"--address must be HOST:PORT, got {address[:80]!r}")
        if ray.is_initialized():
            if self._ours:
                return
            raise usage_error(
                "--address: Ray is initialised in this process; leave the address out"
            )
        try:
            _probe(host, int(port))
        except (OSError, OverflowError, UnicodeError) as error:
            raise NasError(
                f"--address: no Ray answers at {address} ({error}); start it there",
                exit_code=5,
            ) from error
        before = os.environ.get(_JOIN_LIMIT)
        os.environ.setdefault(_JOIN_LIMIT, "1")
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            self._ours = True
        except SystemExit as error:  # as above
            raise Interrupted(signal.SIGTERM) from error
        except (RayError, OSError, RuntimeError, ValueError) as error:
            raise NasError(
                f"--address: cannot join {address}: {_line(error)}", exit_code=5
            ) from error
        finally:
            if before is None:
                del os.environ[_JOIN_LIMIT]


_JOIN_LIMIT = "RAY_gcs_server_port_wait_time_s"  # how often Ray tries, each up to 41 s


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
        metrics: Those of the task.
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
            return Outcome(job.key, Failure("plugin", _line(error), ""), seconds)
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
                f"workers: {self._device} cannot be used there: {_line(error)}", exit_code=5
            ) from error
        except (RayError, GetTimeoutError) as error:
            self._failed_starts += 1
            if self._failed_starts >= SPARE_STARTS or "__init__" in str(error):
                raise NasError(f"workers: cannot start: {_line(error)}", exit_code=5) from error
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
            return Failure("oom_host", f"{slot.name} ran out of memory: {_line(error)}", "")
        # Of a worker that died, its node tells; where that is silent, Ray calls it unavailable.
        if isinstance(error, ActorUnavailableError) or slot.node not in self._session.nodes():
            return Failure("node_lost", f"the node of {slot.name} was lost", "")
        return Failure("worker_died", f"{slot.name} died: {_line(error)}", "")


def capacity(nodes: Collection[Mapping[str, float]], gpus_per_child: float) -> int:
    """How many children of one CPU and so many GPUs nodes can train at a time."""
    return sum(_fits(node, gpus_per_child) for node in nodes)


def _fits(resources: Mapping[str, float], gpus: float) -> int:
    """How many children of one CPU and so many GPUs a node can train at a time."""
    cpus, cards = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
    if gpus == 0:
        return cpus
    by_cards = int(cards) * int(1 / gpus + 1e-9) if gpus <= 1 else int(cards // gpus)
    return min(cpus, by_cards)


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


def _line(error: BaseException) -> str:
    """The telling line of one of Ray's long messages."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]:.200}"
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    telling = [line.strip() for line in text.splitlines() if "detail:" in line or "Error:" in line]
    line = telling[-1] if telling else text.partition("\n")[0]
    return line.rpartition("detail: ")[2].partition(" Some common causes")[0][:200]


def _probe(host: str, port: int) -> None:
    """Wait for the greeting of a gRPC server, as Ray's is: it speaks first.

    Raises:
        OSError: If there is none within ``PROBE_SECONDS``.
    """
    with socket.create_connection((host, port), timeout=PROBE_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() not in {"0", "false", ""}:
            return  # there the client speaks first
        with connection.makefile("rb") as stream:
            frame = stream.read(9)
        if frame[3:4] != b"\x04":  # type of the first frame in HTTP/2: SETTINGS, RFC 9113, 3.4
            raise ConnectionError("something else answers")


def _has_token() -> bool:
    """Whether Ray finds a token, and so makes none."""
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        return True
    try:
        return os.access(Path.home() / ".ray" / "auth_token", os.R_OK)
    except RuntimeError:  # no home folder
        return False


def _short_folder() -> str:
    """Where temporary folders go: Ray's sockets are in them, whose paths have at most 107 bytes."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 30 or not Path("/tmp").is_dir() else "/tmp"  # noqa: S108


def _remove_leftovers() -> None:
    """Remove folders of Ray that a driver of this user left when it was killed."""
    for path in Path(_short_folder()).glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(OSError):
            if pid.isdecimal() and path.stat().st_uid == os.getuid() and not _lives(int(pid)):
                shutil.rmtree(path, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
