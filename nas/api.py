"""The Python interface: ``nas.search`` and ``nas.resume``, and by name what lies elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from estimators.estimator import Estimator
from nas.audit.sample import SAMPLE, drawn
from nas.configuration import Configuration, of_run
from nas.datasets import Data, options
from nas.errors import usage_error
from nas.execution import Count, check_workers, execution_of, ray_for
from nas.interrupts import Interrupted, Interrupts
from nas.loading import load
from nas.lock import RunLock
from nas.plan import LEAST_AUDITED
from nas.preparation import prepare, reopened
from nas.progress import Progress, Silent
from nas.result import Result
from nas.run_folder import (
    RUN,
    AuditSize,
    check_free,
    check_plain,
    create,
    read_record,
    write_json,
)
from nas.session import Session
from nas.status import read
from nas.terminal import escaped
from nas.training import train
from nas.transferring.run import transfer
from search_spaces.space import SearchSpace
from strategies.strategy import Strategy

__all__ = ["AuditSize", "Result", "load", "resume", "search", "train", "transfer"]


def search(  # noqa: PLR0913 - the options of the command line, by name
    *,
    space: str | type[SearchSpace] = "mbconv",
    budget: int = 100,
    data: Data = "digits",
    image_size: str | None = None,
    group: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    strategy: str | type[Strategy] | None = None,
    estimator: str | type[Estimator] = "training",
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    objective: str | Sequence[str] = "accuracy",
    fidelity: float = 1.0,
    final_training: str | None = None,
    references: str | Sequence[str] | None = None,
    audit: AuditSize | None = None,
    halving: int | None = None,
    screen: str | None = None,
    screen_of: int | None = None,
    features: str | Sequence[str] = (),
    max_params: int | None = None,
    max_macs: int | None = None,
    max_latency_ms: float | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    workers: Count = "auto",
    gpus_per_child: float | None = None,
    address: str | None = None,
    child_timeout: float | None = None,
    grace: float = 30.0,
    max_hours: float | None = None,
    study: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Search for the best network within limits, and export it.

    Args:
        space: Name of a search space, or a class of your own.
        budget: Children to train, at least 1.
        data: Name of a data set (``digits``, ``mnist``, ``fashion-mnist``, ``cifar10``,
            ``cifar100``), path of an image folder, CSV or ``.npz`` file (see ``docs/data.md``), or
            ``(images, labels)`` as in ``estimators.data.from_arrays``, a map-style data set such
            as a ``torch.utils.data.Dataset``, or several by split: see
            ``estimators.map_style.from_samples``.
        image_size: ``HxW`` or ``N`` to resize images from a path or samples to; None for their
            own size, or their median height and width where they differ.
        group: Column of a CSV file with what must stay together in one split.
        data_dir: Folder with the files of a published data set; None for the user's cache, then
            where Debian's packages put them.
        download: Whether to fetch published files that are not there.
        strategy: Name of a search strategy, or a class of your own. None: ``predictor``, or
            ``evolution`` for several objectives.
        estimator: Name of an estimator, or a class of your own.
        out: Folder of the run, new or empty; by default ``runs/<space>-<n>``.
        seed: Decides every random choice of the run, at least 0. With one worker on a CPU the
            same seed gives the same run, as far as nothing is measured: latency, precision and
            layout of long trainings, published networks, a time limit.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        objective: A metric of the task: ``accuracy``, ``balanced_accuracy``, ``macro_f1``,
            ``auroc``, ``top5_accuracy`` (from 6 classes on) or ``log_loss``. Or several names, of
            which further ones may also be ``params``, ``macs`` and ``latency_ms``, each to be
            small.
        fidelity: Share of full training for each child, in (0, 1].
        final_training: ``auto``: the winner is trained to the end, as ``docs/training.md`` says,
            and exported with these weights unless those it was chosen by are better on validation
            images. ``off``: it keeps the latter. None for ``auto``; with several objectives
            ``off``.
        references: Published networks that the winner is compared with: the best of them is trained
            to the end too, and handed over if it is better on validation images, as
            ``docs/comparison.md`` says. ``auto`` for those within the limits, and where latency is
            not limited no slower than the winner; ``off``; a name, or several. None for ``auto``
            where the winner is trained to the end.
        audit: How large an audit of estimators to make at the end, as ``docs/estimators.md`` says:
            ``nas.AuditSize(children, seeds)``; None for none.
        halving: Train every child a little, and of those that have reached a rung only the best one
            in ``halving`` further, which is at least 2; None trains each in one piece.
        screen: A score of untrained networks, one of ``estimators.proxy.SCORES``: before each ask
            several proposals are drawn, and the one that scores best is trained, as
            ``docs/strategies.md`` says. None trains the first.
        screen_of: How many, at least 2; None for 8.
        features: A score of untrained networks, or several, of ``estimators.proxy.SCORES`` but
            ``params`` and ``macs``: ``predictor`` learns from them beside decisions and costs.
        max_params: Most parameters, or None.
        max_macs: Most multiply-accumulates for one image, or None.
        max_latency_ms: Highest median latency for one image on ``device``, or None; measured.
        settings: Options of ``space``, ``strategy``, ``estimator`` and, for the final training,
            ``train`` (fields of ``estimators.full_recipe.FullRecipe``), by name.
        workers: Processes that train children; ``auto`` for as many as fit, 0 to train in this
            one.
        gpus_per_child: GPUs each of them reserves, a fraction or a whole number; None for 1 on
            ``cuda`` and 0 elsewhere.
        address: ``host:port`` of a Ray cluster; None for this machine alone.
        child_timeout: Seconds after which a child is killed and has failed; None for 20 times the
            longest so far, at least 600, and no limit before the first has a score.
        grace: Seconds that running children have to finish after Ctrl-C or SIGTERM.
        max_hours: Hours after which nothing is started any more; what runs finishes, and the winner
            is exported. With a final training no child is started in the second half of it; winner
            and published network are trained for as many epochs as fit into what is left, fewer or
            more than without a limit; ``docs/training.md`` says how many. A supernet that is not
            trained by then ends the run without a winner. None for no limit.
        study: Whether to keep ``study.db``, the run as an Optuna study.
        progress: Is told of every trial; None for silence.

    Returns:
        The winner and all that led to it; the run folder holds the same on disk.

    Raises:
        NasError: If a value cannot be used, no network is within the limits, the folder is taken
            or the disk full, or too many children fail.
        KeyboardInterrupt: After Ctrl-C or SIGTERM; ``resume`` goes on.
    """
    execution = execution_of(
        workers=workers,
        gpus_per_child=gpus_per_child,
        child_timeout=child_timeout,
        grace=grace,
        max_hours=max_hours,
        study=study,
    )
    check_workers(execution, address)
    configuration = Configuration(
        space=space,
        budget=budget,
        data=data,
        data_options=options(image_size, group, data_dir, download=download),
        strategy=strategy,
        estimator=estimator,
        seed=seed,
        device=device,
        objective=objective if isinstance(objective, str) else tuple(objective),
        fidelity=fidelity,
        final_training=final_training,
        references=references,
        audit=audit,
        halving=halving,
        screen=screen,
        screen_of=screen_of,
        features=(features,) if isinstance(features, str) else tuple(features),
        max_params=max_params,
        max_macs=max_macs,
        max_latency_ms=max_latency_ms,
        settings={} if settings is None else settings,
    )
    progress = Silent() if progress is None else progress
    out = None if out is None else Path(out)
    with (
        Interrupts(execution.grace, progress.notice) as interrupts,
        ray_for(execution, address) as ray,
    ):
        interrupts.again()  # joining puts Ray's own handlers in place
        if ray is not None and address is not None and device == "auto":
            configuration = replace(configuration, device="cuda" if ray.gpus else "cpu")
        cpus = execution.cpus(elsewhere=address is not None)
        prepared = prepare(configuration, elsewhere=address is not None, cpus=cpus)
        if audit is not None:
            drawn(prepared, LEAST_AUDITED, purpose=SAMPLE)  # too few are told before the search
        if prepared.images.notice:
            progress.notice(f"data: {escaped(prepared.images.notice)}")
        if out is not None:
            check_free(out, prepared.run)
        if ray is not None:
            ray.start()
            interrupts.again()
            ray.check_room(execution.workers, execution.gpus(prepared.plan.device))
        folder = create(out, prepared.run)
        with RunLock(folder):
            create(folder, prepared.run)  # still free, now that nobody else can take it
            write_json(folder / RUN, prepared.run.model_dump(mode="json"))
            session = Session(
                folder,
                prepared,
                execution,
                progress=progress,
                interrupts=interrupts,
                ray=ray,
            )
            return _work(session, folder)


def resume(  # noqa: PLR0913 - the options of the command line, by name
    folder: str | Path,
    *,
    budget: int | None = None,
    space: type[SearchSpace] | None = None,
    data: Data | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    strategy: type[Strategy] | None = None,
    estimator: type[Estimator] | None = None,
    workers: Count = "auto",
    gpus_per_child: float | None = None,
    address: str | None = None,
    child_timeout: float | None = None,
    grace: float = 30.0,
    max_hours: float | None = None,
    study: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Go on with a run where its record ends, whatever ended it; or extend it.

    Nothing that was scored is scored again. Children that were in training are trained again, under
    the same number and seed: from their start, or with halving from the rung they were at. With
    halving an extension may also take up children that were stopped at a rung.

    Args:
        folder: The run folder.
        budget: Children to train in all, earlier ones included; None for what it was.
        space: The class, if the run was begun with a class of your own.
        data: The arrays or samples, if it was begun with them, or where data from a path lie now.
        data_dir: Where the files of a published data set lie now; None for where they were.
        download: See ``search``.
        strategy: As ``space``.
        estimator: As ``space``.
        workers: As for ``search``, and so are the rest: they may differ from session to session.
        gpus_per_child: See ``search``.
        address: See ``search``.
        child_timeout: See ``search``.
        grace: See ``search``.
        max_hours: See ``search``; of this session.
        study: See ``search``.
        progress: See ``search``.

    Returns:
        What ``search`` would have returned.

    Raises:
        NasError: As for ``search``, and if the folder is in use, damaged, or its configuration is
            another here, such as other data (exit code 4).
        KeyboardInterrupt: As for ``search``.
    """
    execution = execution_of(
        workers=workers,
        gpus_per_child=gpus_per_child,
        child_timeout=child_timeout,
        grace=grace,
        max_hours=max_hours,
        study=study,
    )
    check_workers(execution, address)
    folder = Path(folder)
    check_plain(folder)
    read_record(folder)  # a folder without a run is told before it is locked
    given = {"space": space, "data": data, "strategy": strategy, "estimator": estimator}
    progress = Silent() if progress is None else progress
    with (
        Interrupts(execution.grace, progress.notice) as interrupts,
        ray_for(execution, address) as ray,
        RunLock(folder),
    ):
        interrupts.again()  # joining puts Ray's own handlers in place
        run, record = read(folder)
        budget = record.budget if budget is None else budget
        fresh = [one for one in record.waiting if not record.trials[one].reports]
        least = record.started + len(fresh)  # the latter were about to be
        if budget < least:
            raise usage_error(
                f"--budget must be at least {least}, as many children as were started, got {budget}"
            )
        where = options(None, None, data_dir).data_dir
        configuration = of_run(run, budget=budget, given=given, data_dir=where, download=download)
        prepared = reopened(folder, run, configuration, elsewhere=address is not None)
        session = Session(
            folder,
            prepared,
            execution,
            progress=progress,
            interrupts=interrupts,
            ray=ray,
        )
        return _work(session, folder)


def _work(session: Session, folder: Path) -> Result:
    """Work to the end.

    Raises:
        Interrupted: If a signal came; the message says how to go on.
    """
    try:
        return session.run()
    except Interrupted as error:
        text = f"stopped by {error.name}; go on with: nas resume {folder}"
        raise Interrupted(error.number, text) from error
