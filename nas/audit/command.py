"""``nas audit``: whether estimators can be trusted on the data and space of a run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.audit.auditing import Order, audited
from nas.configuration import of_run
from nas.datasets import Data, options
from nas.errors import usage_error
from nas.execution import Count, check_workers, execution_of, ray_for
from nas.interrupts import Interrupted, Interrupts
from nas.journal import Journal
from nas.lock import RunLock
from nas.plan import LEAST_AUDITED
from nas.preparation import reopened
from nas.run_folder import EVENTS, check_plain, read_record
from nas.status import read


def audit(  # noqa: PLR0913 - the options of the command line, by name
    folder: str | Path,
    *,
    children: int = 24,
    seeds: int = 2,
    estimators: Sequence[str] | None = None,
    against_random: bool = False,
    data: Data | None = None,
    data_dir: str | Path | None = None,
    given: Mapping[str, Any] | None = None,
    workers: Count = "auto",
    gpus_per_child: float | None = None,
    address: str | None = None,
    child_timeout: float | None = None,
    grace: float = 30.0,
    show: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Find out whether estimators can be trusted on a run's data and space.

    Children drawn uniformly over the genotypes within the run's limits are trained in full, each
    on several seeds; estimators are compared by how they rank them. What was measured is kept in
    ``audit/`` of the run folder and is not measured again: an audit that was interrupted goes on,
    and one of more children or seeds adds to it.

    Args:
        folder: The run folder, of a search that has ended.
        children: How many to train in full, at least 6.
        seeds: On how many seeds each, at least 1.
        estimators: As ``subjects.subject`` reads them; None for every proxy, a short training and
            the run's own estimator.
        against_random: Whether to let random search work for as many device-seconds as the run.
        data: As for ``resume``.
        data_dir: As for ``resume``.
        given: Classes of the user's own by ``space``, ``strategy`` and ``estimator``.
        workers: As for ``search``, and so are the rest.
        gpus_per_child: See ``search``.
        address: See ``search``.
        child_timeout: See ``search``.
        grace: See ``search``.
        show: Told of every measurement.

    Returns:
        What ``audit.json`` says.

    Raises:
        NasError: If a value cannot be used (exit code 2), too few children could be trained (3),
            or the folder is in use, damaged or without a result (4).
        Interrupted: After Ctrl-C or SIGTERM.
    """
    execution = execution_of(
        workers=workers,
        gpus_per_child=gpus_per_child,
        child_timeout=child_timeout,
        grace=grace,
        max_hours=None,
        study=False,
    )
    check_workers(execution, address)
    for flag, value, least in (("--children", children, LEAST_AUDITED), ("--seeds", seeds, 1)):
        if value < least:
            raise usage_error(f"{flag} must be at least {least}, got {value}")
    folder = Path(folder)
    check_plain(folder)
    read_record(folder)  # a folder without a run is told before it is locked
    with (
        Interrupts(execution.grace, show) as interrupts,
        ray_for(execution, address) as ray,
        RunLock(folder),
    ):
        interrupts.again()  # joining puts Ray's own handlers in place
        run, record = read(folder)
        parts = {"data": data, **({} if given is None else given)}
        where = options(None, None, data_dir).data_dir
        configuration = of_run(run, budget=record.budget, given=parts, data_dir=where)
        prepared = reopened(folder, run, configuration, elsewhere=address is not None)
        labels = None if estimators is None else tuple(estimators)
        with Journal(folder / EVENTS, record.apply) as journal:
            try:
                return audited(
                    folder,
                    prepared,
                    Order(children, seeds, labels, against_random),
                    record=record,
                    journal=journal,
                    execution=execution,
                    interrupts=interrupts,
                    ray=ray,
                    show=show,
                )
            except Interrupted as error:
                text = f"stopped by {error.name}; go on with the same command"
                raise Interrupted(error.number, text) from error
