"""``nas scale``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nas import plugins
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
from nas.terminal import say, stdout_kept
from search_spaces.strict_json import dumps

_OF_A_FAMILY = (
    *("base", "base_size", "alpha", "beta", "gamma", "phi", "divisor", "step"),
    *("out", "dry_run", "json"),
)  # parameters that mean something where nothing is searched


def scale(  # noqa: PLR0913 - one parameter per flag
    context: typer.Context,
    *,
    base: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="Reference, architecture.json, run or exported folder."
        ),
    ],
    base_size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Of the base's images.", show_default="its own; a reference: data's"
        ),
    ] = None,
    grid: Annotated[
        str,
        typer.Option(
            metavar="alpha=FIRST:LAST:STEP,...",
            help="Values of alpha (depth), beta (width) and gamma (resolution).",
            show_default="alpha=1:1.4:0.05,beta=1:1.2:0.05,gamma=1:1.3:0.05",
        ),
    ] = "",
    target: Annotated[float, typer.Option(help="Times the base's MACs.")] = 2.0,
    tolerance: Annotated[str, typer.Option(help="How far from it, as a share.")] = "5%",
    on: Annotated[str, typer.Option(help="realised or formula: what is held to it.")] = "realised",
    alpha: Annotated[float | None, typer.Option(help="Of a family: no search.")] = None,
    beta: Annotated[float | None, typer.Option(help="Likewise.")] = None,
    gamma: Annotated[float | None, typer.Option(help="Likewise.")] = None,
    phi: Annotated[
        str, typer.Option(metavar="FIRST:LAST", help="Powers of a family's members.")
    ] = "1:7",
    divisor: Annotated[
        int | None, typer.Option(help="Of channels.", show_default="what suits the base")
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Of image sides.", show_default="what suits the base")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Networks to train.", show_default="all of the grid")
    ] = None,
    strategy: Annotated[str, typer.Option(help="grid, random, or another.")] = "grid",
    estimator: Annotated[str, typer.Option(help="See `nas estimators`.")] = "training",
    data: Annotated[str, typer.Option(help="As for `nas search`.")] = "digits",
    data_dir: DataDir = None,
    download: Download = False,
    image_size: Annotated[
        str | None, typer.Option(metavar="HxW", help="As for `nas search`.", show_default=False)
    ] = None,
    group: Annotated[str | None, typer.Option(metavar="COLUMN", help="Likewise.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, or a family's.", show_default="runs/scaling-N")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    fidelity: Fidelity = 1.0,
    max_params: MaxParams = None,
    max_macs: MaxMacs = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="As for `nas search`.")] = None,
    objective: Annotated[str, typer.Option(help="As for `nas search`.")] = "accuracy",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PART.OPTION=VALUE", help="Such as estimator.epochs=5."),
    ] = None,
    workers: Workers = "auto",
    gpus_per_child: GpusPerChild = None,
    address: Address = None,
    child_timeout: ChildTimeout = None,
    grace: Grace = 30.0,
    max_hours: MaxHours = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would cost, or the family, and stop.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Search alpha, beta and gamma of compound scaling, or write the family of given ones."""
    is_family = (alpha, beta, gamma) != (None, None, None)
    _check_flags(context, is_family=is_family)
    parsed = plugins.parse_settings(settings if settings is not None else [])
    if parsed.pop("space"):
        raise usage_error("--set: the grid's options are flags of their own; see nas scale --help")
    from nas import datasets, scaling  # noqa: PLC0415 - torch takes seconds to import

    size = datasets.options(base_size, None).image_size
    if is_family:
        _family(
            base,
            size,
            (alpha, beta, gamma),
            phi=phi,
            rounding=(divisor, step),
            out=None if dry_run else out,
            as_json=json,
        )
        return
    axes = scaling.grid(grid)
    options: dict[str, Any] = {
        "base": scaling.option_of(base, size),
        **axes,
        "target": target,
        "tolerance": scaling.share(tolerance),
        "on": on,
        "divisor": divisor,
        "step": step,
    }
    said = scaling.note(*(axes.get(name, []) for name in ("alpha", "beta", "gamma")))
    if said:
        say(f"note: {said}")
    read = datasets.options(image_size, group, data_dir, download=download)
    spare_imports()
    with stdout_kept():
        space = scaling.surveyed(options, data, read)
    from nas import api, progress  # noqa: PLC0415
    from nas import dry_run as dry  # noqa: PLC0415
    from nas.configuration import Configuration  # noqa: PLC0415

    wanted: dict[str, Any] = {
        "space": scaling.SPACE,
        "budget": space.genome.size if budget is None else budget,
        "data": data,
        "strategy": strategy,
        "estimator": estimator,
        "seed": seed,
        "device": device,
        "objective": objective,
        "fidelity": fidelity,
        "references": "off",  # coefficients are asked for, not a network
        "max_params": max_params,
        "max_macs": max_macs,
        "max_latency_ms": max_latency_ms,
        "settings": {"space": options, **parsed},
    }
    if dry_run:
        with stdout_kept():
            cost = dry.dry_run(Configuration(**wanted, data_options=read), workers=workers)
        shown = scaling.grid_document(space)
        if json:
            answer(dumps({**cost, "scaling": shown}, indent=2))
        else:
            answer(f"{scaling.grid_text(shown)}\n\n{dry.text(cost)}")
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


def _check_flags(context: typer.Context, *, is_family: bool) -> None:
    """Refuse flags that would do nothing: those of a search for a family, and the other way round.

    Raises:
        NasError: If there is one (exit code 2).
    """
    for option in context.command.params:
        source = context.get_parameter_source(str(option.name))
        if source is None or source.name == "DEFAULT":
            continue
        flag = option.opts[0]
        if is_family and option.name not in _OF_A_FAMILY:
            raise usage_error(
                f"{flag} is of a search, and --alpha, --beta and --gamma give what it would find; "
                "leave it out"
            )
        if not is_family and option.name == "phi":
            raise usage_error(
                f"{flag} is of a family, given by --alpha, --beta and --gamma; a search has its "
                "powers in --grid phi=..."
            )


def _family(  # noqa: PLR0913 - the flags of a family
    base: str,
    size: tuple[int, int] | None,
    given: tuple[float | None, float | None, float | None],
    *,
    phi: str,
    rounding: tuple[int | None, int | None],
    out: Path | None,
    as_json: bool,
) -> None:
    """Show the family of given coefficients, and write it if there is a folder for it."""
    from nas import family, scaling  # noqa: PLC0415 - torch takes seconds to import
    from search_spaces.compound import Rounding  # noqa: PLC0415
    from search_spaces.scaling import points  # noqa: PLC0415

    alpha, beta, gamma = given
    if alpha is None or beta is None or gamma is None:
        raise usage_error("--alpha, --beta and --gamma must be given together, got some of them")
    network = scaling.base_of(base, size)
    phis = scaling.values(phi, "--phi", step=1.0)
    try:
        grown = points(alpha=[alpha], beta=[beta], gamma=[gamma], phi=phis)
        rounded = Rounding.of(network, divisor=rounding[0], step=rounding[1])
    except ValueError as error:
        raise usage_error(f"nas scale: {error}") from error
    document = family.family(network, grown, rounding=rounded, out=out)
    if document["note"]:
        say(f"note: {document['note']}")
    answer(dumps(document, indent=2) if as_json else family.family_text(document))
