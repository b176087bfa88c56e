"""``nas train``: one network to the end."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nas import plugins
from nas.commands.flags import (
    DataDir,
    Device,
    Download,
    Group,
    ImageSize,
    JsonFlag,
    Seed,
    TrialFlag,
    answer,
)
from nas.terminal import stdout_kept
from search_spaces.strict_json import dumps


def train(  # noqa: PLR0913 - one parameter per flag
    source: Annotated[
        str, typer.Argument(help="Run folder, exported folder, architecture.json or reference.")
    ],
    *,
    data: Annotated[str, typer.Option(help="As for nas search.")],
    out: Annotated[Path, typer.Option(help="Folder; one that holds this training goes on.")],
    data_dir: DataDir = None,
    download: Download = False,
    image_size: ImageSize = None,
    group: Group = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training images.", show_default="100")
    ] = None,
    max_hours: Annotated[
        float | None, typer.Option(help="As many epochs as fill that, by the pace of some steps.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="train.OPTION=VALUE", help="Such as train.flip=true."),
    ] = None,
    trial: TrialFlag = None,
    json: JsonFlag = False,
) -> None:
    """Train one network from fresh weights to the end, and export it."""
    options = plugins.parse_settings(settings if settings is not None else [], parts=("train",))
    from nas import api  # noqa: PLC0415 - torch takes seconds to import

    with stdout_kept():
        summary = api.train(
            source,
            data=data,
            data_dir=data_dir,
            download=download,
            image_size=image_size,
            group=group,
            out=out,
            epochs=epochs,
            max_hours=max_hours,
            seed=seed,
            device=device,
            settings=options["train"],
            trial=trial,
        )
    answer(dumps(summary, indent=2) if json else _found(summary, out))


def _found(summary: dict[str, Any], folder: Path) -> str:
    """What a training ends with."""
    metrics, reads = summary["test"]["metrics"], summary["test_reads"]
    times = "read once" if reads == 1 else f"read {reads} times"
    values = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    files = ["best/model.py", "best/model.safetensors", "best/README.md", "curve.svg"]
    files += ["curve.jsonl", "confusion.svg", "summary.json"]
    return "\n".join(
        [
            f"\n{summary['network']}: {summary['epochs']} epochs",
            f"  test images, {times}: {values}",
            f"  expected calibration error {summary['test']['calibration_error']:.4f}",
            "",
            *(str(folder / name) for name in files),
        ]
    )
