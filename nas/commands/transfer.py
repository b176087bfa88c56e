"""``nas transfer`` and ``nas convert-weights``: trained networks for other images."""

import math
from dataclasses import asdict
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
    Seed,
    answer,
    shape_of,
)
from nas.errors import usage_error
from nas.terminal import stdout_kept
from search_spaces.strict_json import dumps


def transfer(  # noqa: PLR0913 - one parameter per flag
    source: Annotated[
        str, typer.Argument(help="Finished run, exported folder or reference network.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write, new or empty.")],
    *,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Of a reference network: .safetensors; see nas convert-weights."
        ),
    ] = None,
    data: Annotated[str, typer.Option(help="As for nas search.")] = "digits",
    data_dir: DataDir = None,
    download: Download = False,
    group: Group = None,
    mode: Annotated[str, typer.Option(help="auto, linear, probe, last or full.")] = "auto",
    stages: Annotated[
        int | None, typer.Option(help="For last: how many.", show_default="the later half")
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="What the network reads.", show_default="as it was trained"
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C", help="Of the images it knows.", show_default="as it or its source says"
        ),
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Likewise.", show_default="likewise")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Of fine-tuning.", show_default="200 steps, at least 5 epochs"),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: JsonFlag = False,
) -> None:
    """Use a trained network for other images and classes."""
    from nas.transferring import run  # noqa: PLC0415 - torch takes seconds to import

    with stdout_kept():
        outcome = run.transfer(
            source,
            out,
            data=data,
            weights=weights,
            image_size=image_size,
            group=group,
            data_dir=data_dir,
            download=download,
            mean=_numbers("--mean", mean),
            std=_numbers("--std", std),
            mode=mode,
            stages=stages,
            epochs=epochs,
            seed=seed,
            device=device,
        )
    answer(dumps(run.document(outcome, out), indent=2) if json else run.text(outcome, out))


def convert_weights(
    file: Annotated[Path, typer.Argument(help="State dict in torch's own format.")],
    network: Annotated[
        str, typer.Option("--for", metavar="NAME|FILE", help="Network whose weights they are.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .safetensors to write.")],
    *,
    input_shape: InputShape = None,
    num_classes: NumClasses = None,
    json: JsonFlag = False,
) -> None:
    """Turn weights in torch's own format into safetensors, in a process with limits."""
    from nas.foreign_weights import convert  # noqa: PLC0415

    shape = None if input_shape is None else shape_of(input_shape)
    done = convert(file, out, network, input_shape=shape, num_classes=num_classes)
    names = "by name" if done.by_name else "in their order, shape by shape"
    if json:
        answer(dumps({"file": str(out), **asdict(done)}, indent=2))
    else:
        answer(f"{out}: {done.params:,} parameters of {network}, taken {names}")


def _numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers between commas.

    Raises:
        NasError: If they are anything else.
    """
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(math.isfinite(value) for value in values):
        raise usage_error(f"{flag} must be numbers between commas, got {text[:80]!r}")
    if flag == "--std" and min(values) <= 0:
        raise usage_error(f"--std must be above 0, got {text[:80]!r}")
    return values
