"""``nas audit``."""

from pathlib import Path
from typing import Annotated

import typer

from nas import plugins
from nas.commands.flags import (
    Address,
    ChildTimeout,
    DataDir,
    GpusPerChild,
    Grace,
    JsonFlag,
    Workers,
    answer,
)
from nas.errors import usage_error
from nas.terminal import say, stdout_kept
from search_spaces.strict_json import dumps


def audit(  # noqa: PLR0913 - one parameter per flag
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    *,
    children: Annotated[int, typer.Option(help="Children to train in full.")] = 24,
    seeds: Annotated[int, typer.Option(help="Trainings of each.")] = 2,
    estimators: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="NAME[:OPTION=VALUE][@FIDELITY], such as proxy:naswot,training@0.25.",
            show_default="proxies, training@0.25 and the run's own",
        ),
    ] = None,
    against_random: Annotated[
        bool,
        typer.Option("--against-random", help="Give random search the run's device-seconds."),
    ] = False,
    data_dir: DataDir = None,
    workers: Workers = "auto",
    gpus_per_child: GpusPerChild = None,
    address: Address = None,
    child_timeout: ChildTimeout = None,
    grace: Grace = 30.0,
    json: JsonFlag = False,
) -> None:
    """Tell whether estimators can be trusted, from children trained in full."""
    labels = None if estimators is None else [part.strip() for part in estimators.split(",")]
    for label in labels if labels is not None else ():
        if not label:
            raise usage_error(f"--estimators must be names between commas, got {estimators!r}")
        plugins.load("estimators", label.partition("@")[0].partition(":")[0])
    from nas.run_folder import read_record  # noqa: PLC0415 - pydantic

    read_record(run_folder)  # a wrong folder is told before torch is imported
    from nas.audit import command, report  # noqa: PLC0415 - torch takes seconds to import

    with stdout_kept():
        found = command.audit(
            run_folder,
            children=children,
            seeds=seeds,
            estimators=labels,
            against_random=against_random,
            data_dir=data_dir,
            workers=workers,
            gpus_per_child=gpus_per_child,
            address=address,
            child_timeout=child_timeout,
            grace=grace,
            show=say,
        )
    answer(dumps(found, indent=2) if json else report.text(found))
