"""A connection to Ray: to a cluster, or to one that is started on this machine for a run."""

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

import ray
from ray.exceptions import RayError

from nas.errors import NasError, usage_error
from nas.interrupts import Interrupted

PROBE_SECONDS = 5.0
HEAD_SECONDS = 20.0  # that a cluster may be without its head; after 60 Ray ends this process
PREFIX = "nas-ray-"  # of temporary folders; the pid of the driver follows
_JOIN_LIMIT = "RAY_gcs_server_port_wait_time_s"  # how often Ray tries, each up to 41 s

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
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        started = False
        try:
            with _environment({**_unset(_ENVIRONMENT), **path}):
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
                f"ray: cannot start on this machine: {line_of(error)}; --workers 0 does without",
                exit_code=5,
            ) from error
        finally:
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
        try:
            with _environment(_unset({_JOIN_LIMIT: "1"})):
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            self._ours = True
        except SystemExit as error:  # as above
            raise Interrupted(signal.SIGTERM) from error
        except (RayError, OSError, RuntimeError, ValueError) as error:
            raise NasError(
                f"--address: cannot join {address}: {line_of(error)}", exit_code=5
            ) from error


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """With other environment variables, for what reads them once."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _unset(usual: Mapping[str, str]) -> dict[str, str]:
    """Those of some variables that are not in the environment: what a user has set stays."""
    return {name: value for name, value in usual.items() if name not in os.environ}


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


def line_of(error: BaseException) -> str:
    """The telling line of one of Ray's long messages, cut where it is long."""
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
