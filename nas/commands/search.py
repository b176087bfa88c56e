"""``nas search``, ``nas resume`` and ``nas status``."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import config_file, plugins
from nas.commands.findings import report
from nas.commands.flags import (
    Address,
    ChildTimeout,
    DataDir,
    Device,
    Download,
    Fidelity,
    GpusPerChild,
    Grace,
    Group,
    ImageSize,
    JsonFlag,
    MaxHours,
    MaxMacs,
    MaxParams,
    Seed,
    Workers,
    answer,
)
from nas.errors import usage_error
from nas.garbage import spare_imports
from nas.terminal import stdout_kept
from search_spaces.strict_json import dumps
from strategies import DEFAULT_OF_SEVERAL, DEFAULT_STRATEGY

if TYPE_CHECKING:
    from nas.run_folder import AuditSize


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a file the defaults of the other flags."""
    if path is not None:
        flags = {
            option.opts[0].lstrip("-"): option
            for option in context.command.params
            if option.name != "config"
        }
        names = {flag: str(option.name) for flag, option in flags.items()}
        lists = {flag for flag, option in flags.items() if getattr(option, "multiple", False)}
        context.default_map = config_file.read(path, names, lists=lists)
    return path


def search(  # noqa: PLR0913 - one parameter per flag
    *,
    config: Annotated[  # noqa: ARG001 - its callback reads it
        Path | None,
        typer.Option(
            is_eager=True, callback=_read_config, help="TOML file of these flags; flags win."
        ),
    ] = None,
    space: Annotated[str, typer.Option(help="Search space; see `nas spaces`.")] = "mbconv",
    budget: Annotated[int, typer.Option(help="Children to train.")] = 100,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="See `nas strategies`.",
            show_default=f"{DEFAULT_STRATEGY}, or {DEFAULT_OF_SEVERAL} for several objectives",
        ),
    ] = None,
    estimator: Annotated[str, typer.Option(help="See `nas estimators`.")] = "training",
    data: Annotated[
        str,
        typer.Option(
            help="digits, mnist, fashion-mnist, cifar10, cifar100, or path of an image folder, "
            ".csv or .npz."
        ),
    ] = "digits",
    data_dir: DataDir = None,
    download: Download = False,
    image_size: ImageSize = None,
    group: Group = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, new or empty.", show_default="runs/SPACE-N")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    fidelity: Fidelity = 1.0,
    final_training: Annotated[
        str | None,
        typer.Option(metavar="auto|off", help="Train the winner to the end.", show_default="auto"),
    ] = None,
    references: Annotated[
        str | None,
        typer.Option(
            metavar="auto|off|NAMES",
            help="Published networks that the winner has to beat, with commas; see "
            "`nas references`.",
            show_default="auto",
        ),
    ] = None,
    audit: Annotated[
        bool,
        typer.Option("--audit", help="Tell in the end whether estimators can be trusted."),
    ] = False,
    audit_children: Annotated[
        int | None, typer.Option(help="Children it trains in full.", show_default="24")
    ] = None,
    audit_seeds: Annotated[
        int | None, typer.Option(help="Trainings of each.", show_default="2")
    ] = None,
    halving: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Train all a little, the best one in N of them further.",
            show_default="each in one piece",
        ),
    ] = None,
    screen: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE",
            help="Of several proposals train the one that scores best untrained: naswot, "
            "log_synflow, grad_norm, snip, jacob_cov, zico, az_nas, params or macs.",
            show_default="train the first",
        ),
    ] = None,
    screen_of: Annotated[
        int | None, typer.Option(metavar="N", help="How many it looks at.", show_default="8")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCORE",
            help="A score of the untrained network that predictor learns from too; again for more.",
            show_default="none",
        ),
    ] = None,
    max_params: MaxParams = None,
    max_macs: MaxMacs = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Median for one image on the device, measured.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="accuracy, balanced_accuracy, macro_f1, auroc, top5_accuracy (from 6 classes on) "
            "or log_loss; again for params, macs or latency_ms beside it.",
            show_default="accuracy",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PART.OPTION=VALUE", help="Such as strategy.population_size=20."
        ),
    ] = None,
    workers: Workers = "auto",
    gpus_per_child: GpusPerChild = None,
    address: Address = None,
    child_timeout: ChildTimeout = None,
    grace: Grace = 30.0,
    max_hours: MaxHours = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the search would cost, and stop.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Search for the best network within limits and export it."""
    parsed = plugins.parse_settings(settings if settings is not None else [])
    plugins.load("search_spaces", space)  # a misspelt name is told before torch is imported
    for kind, name in (("strategies", strategy), ("estimators", estimator)):
        if name is not None:
            plugins.load(kind, name)
    from nas import datasets  # noqa: PLC0415 - numpy

    if not datasets.is_path(data):
        plugins.load("datasets", data)
    from nas import api, progress  # noqa: PLC0415 - torch takes seconds to import
    from nas import dry_run as dry  # noqa: PLC0415
    from nas.configuration import Configuration  # noqa: PLC0415

    spare_imports()
    wanted: dict[str, Any] = {
        "space": space,
        "budget": budget,
        "data": data,
        "strategy": strategy,
        "estimator": estimator,
        "seed": seed,
        "device": device,
        "objective": tuple(objective) if objective else "accuracy",
        "fidelity": fidelity,
        "final_training": final_training,
        "references": references if references is None else _listed(references),
        "audit": _audit_size(audit, children=audit_children, seeds=audit_seeds),
        "halving": halving,
        "screen": screen,
        "screen_of": screen_of,
        "features": tuple(feature) if feature else (),
        "max_params": max_params,
        "max_macs": max_macs,
        "max_latency_ms": max_latency_ms,
        "settings": parsed,
    }
    if dry_run:
        with stdout_kept():
            read = datasets.options(image_size, group, data_dir, download=download)
            document = dry.dry_run(Configuration(**wanted, data_options=read), workers=workers)
        answer(dumps(document, indent=2) if json else dry.text(document))
        return
    with stdout_kept():  # plug-ins and Ray may print
        result = api.search(
            **wanted,
            image_size=image_size,
            group=group,
            data_dir=data_dir,
            download=download,
            out=out,
            workers=workers,
            gpus_per_child=gpus_per_child,
            address=address,
            child_timeout=child_timeout,
            grace=grace,
            max_hours=max_hours,
            progress=progress.for_this_terminal(),
        )
    report(result.folder, as_json=json)


def _listed(text: str) -> str | tuple[str, ...]:
    """A word, or several with commas between them."""
    names = tuple(name.strip() for name in text.split(","))
    return names[0] if len(names) == 1 else names


def _audit_size(wanted: bool, **size: int | None) -> "AuditSize | None":  # noqa: FBT001 - a flag
    """The size of an audit that flags ask for.

    Raises:
        NasError: If they give a size and ask for none (exit code 2).
    """
    from nas.run_folder import AuditSize  # noqa: PLC0415 - pydantic

    given = {name: value for name, value in size.items() if value is not None}
    if given and not wanted:
        raise usage_error(f"--audit-{next(iter(given))} needs --audit")
    return AuditSize(**given) if wanted else None


def resume(  # noqa: PLR0913 - one parameter per flag
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    *,
    budget: Annotated[
        int | None,
        typer.Option(help="Children to train in all.", show_default="what it was"),
    ] = None,
    data_dir: DataDir = None,
    download: Download = False,
    workers: Workers = "auto",
    gpus_per_child: GpusPerChild = None,
    address: Address = None,
    child_timeout: ChildTimeout = None,
    grace: Grace = 30.0,
    max_hours: MaxHours = None,
    json: JsonFlag = False,
) -> None:
    """Go on with a search where its record ends, or extend it."""
    from nas.run_folder import read_record  # noqa: PLC0415 - as in search

    read_record(run_folder)  # a wrong folder is told before torch is imported
    from nas import api, progress  # noqa: PLC0415

    spare_imports()
    with stdout_kept():
        result = api.resume(
            run_folder,
            budget=budget,
            data_dir=data_dir,
            download=download,
            workers=workers,
            gpus_per_child=gpus_per_child,
            address=address,
            child_timeout=child_timeout,
            grace=grace,
            max_hours=max_hours,
            progress=progress.for_this_terminal(),
        )
    report(result.folder, as_json=json)


def status(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until it ends.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List the failed trials.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show how a run stands, from any shell: running, stopped or finished."""
    from nas import status as standings  # noqa: PLC0415 - pydantic
    from nas.run_folder import RUN  # noqa: PLC0415 - as above

    if not os.path.isfile(run_folder / RUN) and not failed:  # noqa: PTH113 - False for any odd name
        from nas import folder_status  # noqa: PLC0415 - torch

        found = folder_status.document(run_folder)
        if found is not None:
            found = folder_status.watched(run_folder, found) if watch else found
            answer(dumps(found, indent=2) if json else folder_status.text(found))
            return
    if failed:
        rows = standings.failures(standings.read(run_folder)[1])
        answer(dumps(rows, indent=2) if json else _failures(rows))
    elif json:
        answer(dumps(standings.document(run_folder, watch=watch), indent=2))
    else:
        from nas import panel  # noqa: PLC0415 - rich

        panel.show(run_folder, watch=watch)


def _failures(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"trial {row['trial']}: {row['cause']}: {row['message']:.200}" for row in rows]
    return "\n".join(lines) if lines else "no trial has failed"
