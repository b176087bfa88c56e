"""The command line. Results go to stdout, progress to stderr; torch is imported when needed."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nas import config_file, plugins
from nas.errors import NasError, usage_error
from nas.limits import format_quantity, parse_quantity
from nas.terminal import printable, say, stdout_kept
from search_spaces.strict_json import dumps
from strategies import DEFAULT_STRATEGY

app = typer.Typer(
    name="nas",
    help="Neural architecture search for images: from a budget to a plain PyTorch network.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _count(text: str) -> int | str:
    """``auto`` or a whole number.

    Raises:
        BadParameter: If it is neither.
    """
    if text != "auto" and not text.isdecimal():
        raise typer.BadParameter(f"must be auto or a whole number, got {text[:40]!r}")
    return text if text == "auto" else int(text)


# How a run is carried out: for ``search`` and ``resume``.
Workers = Annotated[
    Any,
    typer.Option(
        parser=_count,
        metavar="N",
        help="Processes that train; auto: as many as fit; 0: train in this one.",
    ),
]
GpusPerChild = Annotated[
    float | None,
    typer.Option(help="GPUs each worker reserves, such as 0.5.", show_default="1 on cuda"),
]
Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Ray cluster; this machine if left out.")
]
ChildTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Kill a child after that long.",
        show_default="20 times the longest so far, at least 600",
    ),
]
Grace = Annotated[
    float, typer.Option(metavar="SECONDS", help="What running children have after Ctrl-C.")
]
MaxHours = Annotated[float | None, typer.Option(help="Start no child after that long.")]

_CommandLineError = typer.BadParameter.__base__  # of whichever click typer stands on


def run(arguments: Sequence[str]) -> None:
    """Run one command; without any, print what there is.

    Raises:
        NasError: If the command line is wrong, or the command says so.
    """
    command = typer.main.get_command(app)
    try:
        with command.make_context("nas", list(arguments) or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit:
        return  # help was shown
    except _CommandLineError as error:  # type: ignore[misc]
        place = "nas" if error.ctx is None else error.ctx.command_path
        raise usage_error(f"{error.format_message()} (see `{place} --help`)") from error


def _quantity(text: str) -> int:
    try:
        return parse_quantity(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


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


@app.command()
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
    strategy: Annotated[str, typer.Option(help="See `nas strategies`.")] = DEFAULT_STRATEGY,
    estimator: Annotated[str, typer.Option(help="See `nas estimators`.")] = "training",
    data: Annotated[
        str, typer.Option(help="digits, or path of an image folder, .csv or .npz.")
    ] = "digits",
    image_size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Resize to that.", show_default="as they are, or median"),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Of the .csv: what stays together in one split."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, new or empty.", show_default="runs/SPACE-N")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides every random choice.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    fidelity: Annotated[float, typer.Option(help="Share of full training, in (0, 1].")] = 1.0,
    max_params: Annotated[
        int | None, typer.Option(parser=_quantity, metavar="N", help="Such as 300k or 5M.")
    ] = None,
    max_macs: Annotated[
        int | None, typer.Option(parser=_quantity, metavar="N", help="Such as 300M.")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Median for one image on the device, measured.")
    ] = None,
    objective: Annotated[str, typer.Option(help="accuracy or log_loss.")] = "accuracy",
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
        "objective": objective,
        "fidelity": fidelity,
        "max_params": max_params,
        "max_macs": max_macs,
        "max_latency_ms": max_latency_ms,
        "settings": parsed,
    }
    if dry_run:
        with stdout_kept():
            read = datasets.options(image_size, group)
            document = dry.dry_run(Configuration(**wanted, data_options=read), workers=workers)
        _print(dumps(document, indent=2) if json else dry.text(document))
        return
    with stdout_kept():  # plug-ins and Ray may print
        result = api.search(
            **wanted,
            image_size=image_size,
            group=group,
            out=out,
            workers=workers,
            gpus_per_child=gpus_per_child,
            address=address,
            child_timeout=child_timeout,
            grace=grace,
            max_hours=max_hours,
            progress=progress.for_this_terminal(),
        )
    _report(result.folder, as_json=json)


@app.command()
def resume(  # noqa: PLR0913 - one parameter per flag
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    *,
    budget: Annotated[
        int | None,
        typer.Option(help="Children to train in all.", show_default="what it was"),
    ] = None,
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
            workers=workers,
            gpus_per_child=gpus_per_child,
            address=address,
            child_timeout=child_timeout,
            grace=grace,
            max_hours=max_hours,
            progress=progress.for_this_terminal(),
        )
    _report(result.folder, as_json=json)


@app.command()
def status(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until it ends.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List the failed trials.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show how a run stands, from any shell: running, stopped or finished."""
    from nas import status as standings  # noqa: PLC0415 - pydantic

    if failed:
        rows = standings.failures(standings.read(run_folder)[1])
        _print(dumps(rows, indent=2) if json else _failures(rows))
    elif json:
        _print(dumps(standings.document(run_folder), indent=2))
    else:
        from nas import panel  # noqa: PLC0415 - rich

        panel.show(run_folder, watch=watch)


@app.command()
def export(
    source: Annotated[
        str, typer.Argument(help="Run folder, exported folder, architecture.json or reference.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write, new or empty.")],
    *,
    sliding: Annotated[
        bool,
        typer.Option("--fully-convolutional", help="For larger images too: a map of scores."),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Write a network as plain PyTorch, checked in a fresh process."""
    from nas import export as exporting  # noqa: PLC0415
    from nas import loading  # noqa: PLC0415

    winner = loading.find(source).winner
    if sliding:
        from nas.sliding import slide  # noqa: PLC0415

        winner = slide(winner)
    error = exporting.export(winner, out)
    if json:
        _print(dumps({"folder": str(out), "relative_error": error}, indent=2))
    elif error is None:
        _print(f"{out}: source only; {source} has no weights")
    else:
        _print(f"{out}: source and weights, outputs equal within {error:.1e} of the largest")


@app.command()
def predict(
    folder: Annotated[str, typer.Argument(help="Exported folder, or a finished run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    *,
    top: Annotated[int, typer.Option(min=1, help="Classes for each image.")] = 1,
    heat: Annotated[
        Path | None,
        typer.Option("--map", metavar="OUT.png", help="Heat map over the one image."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--class", help="What the map is of.", show_default="the most probable"),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Say what an exported network sees in images."""
    from nas import heat_map, predicting  # noqa: PLC0415

    if heat is None and label is not None:
        raise usage_error("--class has a meaning with --map only")
    predictor = predicting.Predictor(folder)
    shown = None if heat is None else heat_map.write(heat, predictor, images, label=label)
    document = predicting.predict(predictor, images, top=top)
    if shown is not None:
        document["images"][0]["map"] = shown
    _print(dumps(document, indent=2) if json else predicting.text(document))


@app.command()
def show(
    source: Annotated[
        str, typer.Argument(help="Reference, architecture.json, run or exported folder.")
    ],
    *,
    picture: Annotated[
        Path | None, typer.Option("--draw", metavar="FILE.svg", help="Write a drawing as well.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            metavar="CxHxW", help="Images to adapt a reference to.", show_default="as published"
        ),
    ] = None,
    num_classes: Annotated[
        int | None,
        typer.Option(help="Classes to adapt a reference to.", show_default="as published"),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Show layers, shapes and costs of a network."""
    from nas import loading, showing  # noqa: PLC0415

    shape = None if input_shape is None else _shape(input_shape)
    named = loading.find(source, input_shape=shape, num_classes=num_classes)
    if picture is not None:
        showing.write_drawing(picture, named.winner.graph, named.name)
        say(f"drawn: {picture}")
    document = showing.network_document(named.name, named.winner.graph)
    _print(dumps(document, indent=2) if json else showing.network_text(document))


@app.command()
def spaces(
    name: Annotated[str | None, typer.Argument(help="One space in detail.")] = None,
    *,
    input_shape: Annotated[
        str, typer.Option(metavar="CxHxW", help="Images to adapt the space to.")
    ] = "3x224x224",
    num_classes: Annotated[int, typer.Option(help="Number of classes.")] = 10,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="space.OPTION=VALUE")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """List search spaces, or show one: its decisions, its size and what its networks cost."""
    if name is None:
        _list("search_spaces", as_json=json)
        return
    plugins.load("search_spaces", name)
    from nas import spaces as overview  # noqa: PLC0415

    parsed = plugins.parse_settings(settings if settings is not None else [])
    options = parsed.pop("space")
    if any(parsed.values()):
        raise usage_error("--set: only space.OPTION=VALUE has a meaning here")
    document = overview.space_document(name, _shape(input_shape), num_classes, options=options)
    _print(dumps(document, indent=2) if json else overview.space_text(document))


@app.command()
def strategies(
    name: Annotated[str | None, typer.Argument(help="One strategy in detail.")] = None,
    *,
    json: JsonFlag = False,
) -> None:
    """List search strategies, or describe one."""
    _list_or_describe("strategies", name, as_json=json)


@app.command()
def estimators(
    name: Annotated[str | None, typer.Argument(help="One estimator in detail.")] = None,
    *,
    json: JsonFlag = False,
) -> None:
    """List estimators, or describe one."""
    _list_or_describe("estimators", name, as_json=json)


@app.command()
def bench(  # noqa: PLR0913 - one parameter per flag
    *,
    table: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="CSV of networks, may be gzipped; again for several."),
    ],
    strategies: Annotated[
        str, typer.Option(metavar="A,B,...", help="See `nas strategies`; NAME:OPTION=VALUE.")
    ] = DEFAULT_STRATEGY,
    queries: Annotated[
        str, typer.Option(metavar="N,N,...", help="Judge after that many; the last is the budget.")
    ] = "10,20,50,100",
    seeds: Annotated[int, typer.Option(help="Repeats, the same ones for all.")] = 200,
    max_cost: Annotated[
        list[str] | None,
        typer.Option(metavar="COST=VALUE", help="macs=300M, or macs=25% for that quantile."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for bench.json and plots, new or empty.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Compare strategies on published tables of networks."""
    names = _parts(strategies, "--strategies")
    counts = _parts(queries, "--queries")
    if not all(count.isdecimal() and len(count) < 10 for count in counts):
        raise usage_error(f"--queries must be whole numbers such as 10,20,50, got {queries[:80]!r}")
    for name in names:  # a misspelt name is told before tables are read
        if name != "largest":
            plugins.load("strategies", name.partition(":")[0])
    from nas.bench import command, report  # noqa: PLC0415 - numpy and scipy

    with stdout_kept():
        found = command.bench(
            table,
            names,
            queries=[int(count) for count in counts],
            seeds=seeds,
            limits=max_cost if max_cost is not None else [],
            out=out,
        )
    _print(dumps(found, indent=2) if json else report.text(found))


@app.command()
def references(*, json: JsonFlag = False) -> None:
    """List the published networks that `nas show` and `nas.load` know by name."""
    from nas import references as overview  # noqa: PLC0415

    document = overview.references_document()
    _print(dumps(document, indent=2) if json else overview.references_text(document))


def _report(folder: Path, *, as_json: bool) -> None:
    """Print what a search found, from its ``summary.json``."""
    from nas.run_folder import SUMMARY, read_json  # noqa: PLC0415 - as in search

    document = read_json(folder / SUMMARY, what="summary")
    _print(dumps(document, indent=2) if as_json else _found(document, folder))


def _found(document: Mapping[str, Any], folder: Path) -> str:
    """What a search ends with."""
    best, metric = document["best"], document["objective"]
    macs, searched = format_quantity(best["macs"]), f"{best['search_score']:.4f} in the search"
    counts = ", ".join(f"{count} {state}" for state, count in document["states"].items())
    scores = f"mean of {len(best['scores'])} fresh seeds"
    reads = "read once" if best["test_reads"] == 1 else f"read {best['test_reads']} times"
    lines = [
        f"\n{document['ended']}: {counts}, {document['seconds']:.0f} s",
        f"best: trial {best['trial']}, {format_quantity(best['params'])} parameters, {macs} MACs",
        f"  {metric} {best['test'][metric]:.4f} on test images, {reads}",
        f"  {metric} {best['score']:.4f} on validation images, {scores} ({searched})",
        "",
    ]
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


def _failures(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"trial {row['trial']}: {row['cause']}: {row['message']:.200}" for row in rows]
    return "\n".join(lines) if lines else "no trial has failed"


def _list_or_describe(kind: str, name: str | None, *, as_json: bool) -> None:
    if name is None:
        _list(kind, as_json=as_json)
        return
    target = plugins.load(kind, name)
    document = plugins.description(name, target)
    if as_json:
        _print(dumps(document, indent=2))
        return
    _print(f"{name}\n\n{document['text']}\n")
    for option in document["options"]:
        _print(f"  --set {plugins.PARTS[kind]}.{option['name']}={option['default']}")


def _list(kind: str, *, as_json: bool) -> None:
    rows = []
    for name in plugins.names(kind):
        try:
            rows.append(plugins.description(name, plugins.load(kind, name)))
        except NasError as error:  # one bad plug-in does not hide the others
            say(f"left out: {error}")
    if as_json:
        _print(dumps(rows, indent=2))
        return
    for row in rows:
        _print(f"{row['name']:<12}{row['text'].partition(chr(10))[0]}".rstrip())


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise usage_error(f"--input-shape must be CHANNELSxHEIGHTxWIDTH, got {text[:40]!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _parts(text: str, flag: str) -> list[str]:
    """What stands between commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise usage_error(f"{flag} must be names or numbers between commas, got {text[:80]!r}")
    return parts


def _print(text: str) -> None:
    sys.stdout.write(printable(text, keep="\n") + "\n")
    sys.stdout.flush()
