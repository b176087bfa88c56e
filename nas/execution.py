"""How a session of a run is carried out: on how many workers, and where."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from estimators.determinism import cpus
from estimators.estimator import Estimator
from nas.errors import usage_error
from nas.interrupts import Interrupts
from nas.preparation import Prepared
from nas.workers import InProcessWorkers, Workers

if TYPE_CHECKING:
    from nas.ray_session import RaySession


Count = int | Literal["auto"]


@final
@dataclass(frozen=True, slots=True)
class Execution:
    """How one session of a run is carried out; the next may have another.

    Attributes:
        workers: Worker processes; None for as many as fit, 0 to train in this process.
        gpus_per_child: GPUs reserved for each worker; None for 1 on ``cuda`` and 0 elsewhere.
        child_timeout: Seconds after which a child is killed; None for 20 times the longest so
            far, at least 600, and no limit before the first has a score.
        grace: Seconds that running children have to finish after Ctrl-C or SIGTERM.
        max_hours: After how many hours of this session nothing is started any more; None for
            no limit. What runs is finished, but for a supernet, and the winner exported. Of a run
            whose winner is trained to the end, no child is started in the second half of the time
            for all.
        study: Whether to keep ``study.db``.
    """

    workers: int | None = None
    gpus_per_child: float | None = None
    child_timeout: float | None = None
    grace: float = 30.0
    max_hours: float | None = None
    study: bool = True

    def cpus(self, *, elsewhere: bool = False) -> int:
        """CPUs of this machine that workers hold; 1 where these are on others.

        One for each worker: a training that is alone may use them all.
        """
        if elsewhere:
            return 1
        return cpus() if self.workers is None else max(1, min(self.workers, cpus()))

    def gpus(self, device: str) -> float:
        """Cards that each worker reserves on a device."""
        return float(device == "cuda") if self.gpus_per_child is None else self.gpus_per_child


def execution_of(
    *,
    workers: Count,
    gpus_per_child: float | None,
    child_timeout: float | None,
    grace: float,
    max_hours: float | None,
    study: bool,
) -> Execution:
    """The execution that a user asks for.

    Raises:
        NasError: If a value is out of range (exit code 2).
    """
    if workers != "auto" and (isinstance(workers, bool | str) or workers < 0):
        raise usage_error(f"--workers must be auto or at least 0, got {workers!r}")
    if gpus_per_child is not None and not (
        0 <= gpus_per_child <= 1 or (gpus_per_child > 1 and gpus_per_child == int(gpus_per_child))
    ):
        raise usage_error(
            f"--gpus-per-child must be from 0 to 1, or a whole number, got {gpus_per_child}"
        )
    for flag, value in (("--child-timeout", child_timeout), ("--max-hours", max_hours)):
        if value is not None and not 0 < value < math.inf:
            raise usage_error(f"{flag} must be above 0 and finite, got {value}")
    if not 0 <= grace < math.inf:
        raise usage_error(f"--grace must be at least 0 and finite, got {grace}")
    return Execution(
        None if workers == "auto" else int(workers),
        gpus_per_child,
        child_timeout,
        grace,
        max_hours,
        study,
    )


def check_workers(execution: Execution, address: str | None) -> None:
    """Refuse what has no meaning without workers.

    Raises:
        NasError: Then (exit code 2).
    """
    for flag, value in (
        ("--address", address),
        ("--gpus-per-child", execution.gpus_per_child),
        ("--child-timeout", execution.child_timeout),
    ):
        if execution.workers == 0 and value:
            raise usage_error(f"{flag} needs a worker; --workers 0 trains in this process")


@contextmanager
def workers_for(
    estimator: Estimator,
    prepared: Prepared,
    execution: Execution,
    *,
    most: int,
    ray: "RaySession | None",
    interrupts: Interrupts,
) -> Iterator[Workers]:
    """Workers that score by a prepared estimator, closed at the end.

    Args:
        estimator: What they score by.
        prepared: Of the run they work for.
        execution: How many of them, and where.
        most: Jobs at a time that there can be.
        ray: Where they are to be, started or not; None for this process.
        interrupts: Entered.
    """
    device, metrics = prepared.plan.device, prepared.metrics(estimator)
    if ray is None:
        yield InProcessWorkers(estimator, device, metrics=metrics)
        return
    from nas.ray_workers import RayWorkers  # noqa: PLC0415 - Ray takes a second to import

    ray.start()
    interrupts.again()  # Ray has put its own handler in place
    workers = RayWorkers(
        ray,
        estimator,
        device,
        metrics=metrics,
        count=execution.workers,
        most=most,
        gpus_per_child=execution.gpus(device),
        child_timeout=execution.child_timeout,
    )
    try:
        yield workers
    finally:
        workers.close()


@contextmanager
def ray_for(execution: Execution, address: str | None) -> Iterator["RaySession | None"]:
    """The Ray that workers are to be in, closed at the end; None to do without.

    A cluster is joined; a Ray on this machine is started by whoever needs it first.
    """
    if execution.workers == 0:
        yield None
        return
    from nas.ray_session import RaySession  # noqa: PLC0415 - Ray takes a second to import

    session = RaySession(address)
    try:
        if address is not None:
            session.start()
        yield session
    finally:
        session.close()
