"""``nas search``, ``nas resume`` and ``nas status``."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import config_file, plugins
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
from nas.limits import format_quantity, format_value
from nas.terminal import stdout_kept
from search_spaces.strict_json import dumps
from strategies import DEFAULT_OF_SEVERAL, DEFAULT_STRATEGY

if TYPE_CHECKING:
    from nas.run_folder import AuditSize


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a file the defaults of the other flags."""
    if path is not None:
        flags = {
            option.opts[0].lstrip("-"): str(option.name)
            for option in context.command.params
            if option.name != "config"
        }
        context.default_map = config_file.read(path, flags)
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
        answer(dumps(standings.document(run_folder), indent=2))
    else:
        from nas import panel  # noqa: PLC0415 - rich

        panel.show(run_folder, watch=watch)


def report(folder: Path, *, as_json: bool) -> None:
    """Print what a search found, from its ``summary.json``."""
    from nas.run_folder import AUDIT, AUDIT_DOCUMENT, SUMMARY, read_json  # noqa: PLC0415 - as in search

    document = read_json(folder / SUMMARY, what="summary")
    answer(dumps(document, indent=2) if as_json else _found(document, folder))
    audit = folder / AUDIT / AUDIT_DOCUMENT
    if document.get("audit") is not None and audit.is_file() and not as_json:
        from nas.audit import report as audit_report  # noqa: PLC0415 - numpy

        found = read_json(audit, what="audit")
        answer("\n" + audit_report.text(found))
    if "scaling" in document and not as_json:
        from nas.scaling import findings_text  # noqa: PLC0415 - torch

        answer("\n" + findings_text(document["scaling"], folder))


def _found(document: Mapping[str, Any], folder: Path) -> str:
    """What a search ends with."""
    if document["front"] is not None:
        return _found_front(document, folder)
    best, metric = document["best"], document["objective"]
    macs, searched = format_quantity(best["macs"]), f"{best['search_score']:.4f} in the search"
    if best["search_metric"] != metric:
        searched = f"{best['search_metric']} {searched}"
    counts = ", ".join(f"{count} {state}" for state, count in document["states"].items())
    scores = f"mean of {len(best['scores'])} fresh seeds"
    reads = "read once" if best["test_reads"] == 1 else f"read {best['test_reads']} times"
    final = best.get("final_training")
    lines = [
        f"\n{document['ended']}: {counts}, {document['seconds']:.0f} s",
        f"best: trial {best['trial']}, {format_quantity(best['params'])} parameters, {macs} MACs",
        f"  {metric} {best['test'][metric]:.4f} on test images, {reads}",
        f"  {metric} {best['score']:.4f} on validation images, {scores} ({searched})",
    ]
    if final is not None:
        lines.append(f"  {_final(final, metric)}")
    lines.append("")
    files = {
        "best/model.py": "the network, plain PyTorch",
        "best/model.safetensors": "its weights",
        "best/README.md": "how to use it, and every figure",
        "best/architecture.svg": "a drawing of it",
        "summary.json": "the same for scripts",
        "study.db": "every trial, for optuna-dashboard",
    }
    width = max(len(str(folder / name)) for name in files)
    lines += [f"{folder / name!s:<{width}}  {what}" for name, what in files.items()]
    return "\n".join(lines)


def _found_front(document: Mapping[str, Any], folder: Path) -> str:
    """What a search for several objectives ends with: a line for each member of its front."""
    metric, names = document["objective"], document["objectives"]
    counts = ", ".join(f"{count} {state}" for state, count in document["states"].items())
    front, seeds = document["front"], len(document["front"][0]["scores"])
    size = f"{len(front)} networks, hypervolume {document['hypervolume']:.4f}"
    lines = [
        f"\n{document['ended']}: {counts}, {document['seconds']:.0f} s",
        f"front: {size}; {metric} on validation images, mean of {seeds} fresh seeds",
    ]
    for member in front:
        values = ", ".join(format_value(name, member["objectives"][name]) for name in names)
        test = f"{member['test'][metric]:.4f} on test images"
        lines.append(f"  trial {member['trial']}: {values} ({test})")
    files = {
        **{f"{member['folder']}/": "one of them, plain PyTorch" for member in front[:1]},
        "front.svg": "a drawing of the front",
        "summary.json": "the same for scripts",
        "study.db": "every trial, for optuna-dashboard",
    }
    width = max(len(str(folder / name)) for name in files)
    return "\n".join([*lines, "", *(f"{folder / n!s:<{width}}  {w}" for n, w in files.items())])


def _final(final: Mapping[str, Any], metric: str) -> str:
    """What became of the final training."""
    if final["score"] is None:
        return "the final training failed; the weights it was chosen by stay"
    found = (
        f"{metric} {final['score']:.4f} on them after {final['epochs']} epochs of final training"
    )
    return found if final["used"] else f"{found}; not used, as it was better before"


def _failures(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"trial {row['trial']}: {row['cause']}: {row['message']:.200}" for row in rows]
    return "\n".join(lines) if lines else "no trial has failed"
