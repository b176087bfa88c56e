"""One network at a time: ``nas export``, ``predict``, ``evaluate``, ``show``, ``references``."""

from pathlib import Path
from typing import Annotated

import typer

from nas.commands.flags import (
    DataDir,
    Device,
    Download,
    Group,
    InputShape,
    JsonFlag,
    NumClasses,
    TrialFlag,
    answer,
    shape_of,
)
from nas.errors import usage_error
from nas.terminal import say
from search_spaces.strict_json import dumps

RunFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Run that file of the folder by ONNX Runtime: onnx or int8.",
        show_default="the network itself",
    ),
]


def export(  # noqa: PLR0913 - one parameter per flag
    source: Annotated[
        str, typer.Argument(help="Run folder, exported folder, architecture.json or reference.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write, new or empty.")],
    *,
    sliding: Annotated[
        bool,
        typer.Option("--fully-convolutional", help="For larger images too: a map of scores."),
    ] = False,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format", metavar="NAME", help="Also as pt2, onnx, folded or int8; repeatable."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Images to check and calibrate with, as for nas search.", show_default="random"
        ),
    ] = None,
    data_dir: DataDir = None,
    download: Download = False,
    group: Group = None,
    calibration: Annotated[
        int | None,
        typer.Option(min=1, help="Training images to calibrate int8 with.", show_default="200"),
    ] = None,
    trial: TrialFlag = None,
    json: JsonFlag = False,
) -> None:
    """Write a network as plain PyTorch, checked in a fresh process."""
    if data is None and (group is not None or data_dir is not None or download):
        raise usage_error("--group, --data-dir and --download need --data")
    names = list(dict.fromkeys(format_ or ()))
    if calibration is not None and "int8" not in names:
        raise usage_error("--calibration needs --format int8")
    from nas import as_read, formats, loading  # noqa: PLC0415
    from nas import export as exporting  # noqa: PLC0415

    also = formats.chosen(names, has_data=data is not None)
    winner = loading.find(source, trial=trial).winner
    if sliding:
        from nas.sliding import slide  # noqa: PLC0415

        winner = slide(winner)
    real = None
    if data is not None:
        exporting.check_new(out)  # told before the images are read
        images = as_read.readable(
            winner, source, data, group=group, data_dir=data_dir, download=download
        )
        real = images.sample(winner.graph, calibration=calibration)
    error = exporting.export(winner, out, also, real)
    if json:
        document = {"folder": str(out), "relative_error": error, "formats": names}
        answer(dumps(document, indent=2))
    elif error is None:
        answer(f"{out}: source only; {source} has no weights")
    else:
        more = f"; also {', '.join(names)}, see its {exporting.CARD}" if names else ""
        answer(f"{out}: source and weights, outputs equal within {error:.1e} of the largest{more}")


def predict(  # noqa: PLR0913 - one parameter per flag
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
    format_: RunFormat = None,
    trial: TrialFlag = None,
    json: JsonFlag = False,
) -> None:
    """Say what an exported network sees in images."""
    from nas import heat_map, predicting  # noqa: PLC0415

    if heat is None and label is not None:
        raise usage_error("--class has a meaning with --map only")
    predictor = predicting.Predictor(folder, format_=format_, trial=trial)
    shown = None if heat is None else heat_map.write(heat, predictor, images, label=label)
    document = predicting.predict(predictor, images, top=top)
    if shown is not None:
        document["images"][0]["map"] = shown
    answer(dumps(document, indent=2) if json else predicting.text(document))


def evaluate(  # noqa: PLR0913 - one parameter per flag
    source: Annotated[str, typer.Argument(help="Exported folder, or a finished run.")],
    *,
    data: Annotated[str, typer.Option(help="As for nas search.")] = "digits",
    data_dir: DataDir = None,
    download: Download = False,
    split: Annotated[str, typer.Option(help="test, validation, train or all.")] = "test",
    group: Group = None,
    device: Device = "auto",
    format_: RunFormat = None,
    trial: TrialFlag = None,
    json: JsonFlag = False,
) -> None:
    """Measure an exported network on labelled images."""
    from nas import evaluating  # noqa: PLC0415

    document = evaluating.evaluate(
        source,
        data=data,
        split=split,
        group=group,
        data_dir=data_dir,
        download=download,
        device=device,
        format_=format_,
        trial=trial,
    )
    answer(dumps(document, indent=2) if json else evaluating.text(document))


def show(
    source: Annotated[
        str, typer.Argument(help="Reference, architecture.json, run or exported folder.")
    ],
    *,
    picture: Annotated[
        Path | None, typer.Option("--draw", metavar="FILE.svg", help="Write a drawing as well.")
    ] = None,
    input_shape: InputShape = None,
    num_classes: NumClasses = None,
    trial: TrialFlag = None,
    json: JsonFlag = False,
) -> None:
    """Show layers, shapes and costs of a network."""
    from nas import loading, showing  # noqa: PLC0415

    shape = None if input_shape is None else shape_of(input_shape)
    named = loading.find(source, input_shape=shape, num_classes=num_classes, trial=trial)
    if picture is not None:
        showing.write_drawing(picture, named.winner.graph, named.name)
        say(f"drawn: {picture}")
    document = showing.network_document(named.name, named.winner.graph)
    answer(dumps(document, indent=2) if json else showing.network_text(document))


def references(*, json: JsonFlag = False) -> None:
    """List the published networks that `nas show` and `nas.load` know by name."""
    from nas import references as overview  # noqa: PLC0415

    document = overview.references_document()
    answer(dumps(document, indent=2) if json else overview.references_text(document))
