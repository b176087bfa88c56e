"""Flags, values and output that commands have in common."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.errors import usage_error
from nas.limits import parse_quantity
from nas.terminal import printable

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _count(text: str) -> int | str:
    """``auto`` or a whole number.

    Raises:
        BadParameter: If it is neither.
    """
    if text != "auto" and not text.isdecimal():
        raise typer.BadParameter(f"must be auto or a whole number, got {text[:40]!r}")
    return text if text == "auto" else int(text)


# Where published data are.
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Files of a published set.", show_default="cache, or where packages are"
    ),
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch a published set that is not there.")
]

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
MaxHours = Annotated[
    float | None,
    typer.Option(
        help="Start no child after that long, or after half of it where a final training follows."
    ),
]

# Of a run for several objectives.
TrialFlag = Annotated[
    int | None,
    typer.Option("--trial", min=0, metavar="N", help="Which member of a run's front."),
]


def quantity(text: str) -> int:
    """A number such as 300k or 5M.

    Raises:
        BadParameter: If it is something else.
    """
    try:
        return parse_quantity(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


# Flags of several commands.
Group = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Of the .csv: what stays together in one split."),
]
ImageSize = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Resize to that.", show_default="as they are, or median"),
]
Seed = Annotated[int, typer.Option(help="Decides every random choice.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Fidelity = Annotated[float, typer.Option(help="Share of full training, in (0, 1].")]
MaxParams = Annotated[
    int | None, typer.Option(parser=quantity, metavar="N", help="Such as 300k or 5M.")
]
MaxMacs = Annotated[int | None, typer.Option(parser=quantity, metavar="N", help="Such as 300M.")]
InputShape = Annotated[
    str | None,
    typer.Option(
        metavar="CxHxW", help="Images to adapt a reference to.", show_default="as published"
    ),
]
NumClasses = Annotated[
    int | None,
    typer.Option(help="Classes to adapt a reference to.", show_default="as published"),
]


def shape_of(text: str) -> tuple[int, int, int]:
    """Channels, height and width, of ``3x224x224``.

    Raises:
        NasError: If it is something else.
    """
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise usage_error(f"--input-shape must be CHANNELSxHEIGHTxWIDTH, got {text[:40]!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


def answer(text: str) -> None:
    """Write a result to stdout, free of control characters."""
    sys.stdout.write(printable(text, keep="\n") + "\n")
    sys.stdout.flush()
