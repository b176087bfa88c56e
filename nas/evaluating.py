"""How well an exported network does on labelled images, from the folder's data alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from estimators.calibration import calibration_error, confusion
from estimators.scoring import outputs_of, scored
from estimators.task import Classification
from nas.as_read import SPLITS, readable
from nas.datasets import Data
from nas.device import resolve_device
from nas.errors import usage_error
from nas.formats.running import network_of
from nas.loading import find
from nas.terminal import printable

SHOWN = 20  # classes in the text


def evaluate(  # noqa: PLR0913 - the options of the command line, by name
    source: str | Path,
    *,
    data: Data = "digits",
    split: str = "test",
    group: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    device: str = "auto",
    format_: str | None = None,
    trial: int | None = None,
) -> dict[str, Any]:
    """Every metric of an exported network on labelled images.

    Images are prepared as those of its training were. Classes are matched by name; the data may
    have fewer of them.

    Args:
        source: An exported folder or a finished run.
        data: As for ``nas.search``, and so are the next three.
        split: ``test``, ``validation``, ``train`` or ``all``; images of a path that are all
            scored may be few, of one class, and without training images.
        group: Column of a CSV file with what stays together in one split.
        data_dir: Folder with the files of a published data set.
        download: Whether to fetch published files that are not there.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        format_: ``onnx`` or ``int8``: that file of the folder, run by ONNX Runtime on the CPU; None
            for the network with its weights.
        trial: Which member of a run's front; None where there is one winner.

    Returns:
        What ``nas evaluate --json`` prints: ``images``, ``metrics``, ``calibration_error`` (see
        ``calibration.calibration_error``), ``classes`` (figures of each), ``confusion`` (rows are
        the true classes).

    Raises:
        NasError: If the network or the data cannot be used, or do not fit (exit code 2).
    """
    if split not in SPLITS:
        raise usage_error(f"--split must be one of {', '.join(SPLITS)}, got {split[:40]!r}")
    place = resolve_device(device)
    winner = find(source, trial=trial).winner
    images = readable(
        winner,
        source,
        data,
        group=group,
        data_dir=data_dir,
        download=download,
        whole=split == "all",
    )
    chosen = images.split(split)
    model = network_of(winner, source, format_).to(place)
    score = scored if format_ is None else outputs_of  # a file is run as it is
    outputs = score(model, chosen, graph=winner.graph, device=place)
    if outputs.ndim == 4:  # a fully convolutional network at the size of its training
        outputs = outputs.mean(dim=(2, 3))
    if not bool(torch.isfinite(outputs).all()):
        raise usage_error("weights: the network yields scores that are not finite")
    return {
        "source": str(source),
        "data": images.images.name,
        "split": split,
        "format": format_,
        **figures(outputs, chosen.labels, images.wanted.classes),
    }


def figures(outputs: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """All that is said of a network on some images; see ``evaluate``.

    Args:
        outputs: Logits, ``(images, classes)``, on the CPU.
        labels: Classes, ``(images,)``.
        classes: Their names.
    """
    task = Classification(len(classes))
    return {
        "images": len(labels),
        "metrics": task.measure(outputs, labels),
        "calibration_error": calibration_error(outputs, labels),
        "classes": [
            {"class": name, **asdict(one)}
            for name, one in zip(classes, task.by_class(outputs, labels), strict=True)
        ],
        "confusion": confusion(outputs, labels).tolist(),
    }


def text(document: Mapping[str, Any]) -> str:
    """The same for the eye."""
    lines = [f"{document['images']:,} images of {document['data']}, {document['split']}"]
    lines += [f"  {name:<18} {value:.4f}" for name, value in document["metrics"].items()]
    lines.append(f"  {'calibration_error':<18} {document['calibration_error']:.4f}")
    rows, matrix = document["classes"], document["confusion"]
    width = max(len(printable(row["class"])[:24]) for row in rows)
    lines.append(f"\n{'class':<{width}}  images  recall  precision  f1      most taken for")
    for place, row in list(enumerate(rows))[:SHOWN]:
        wrong = {other: count for other, count in enumerate(matrix[place]) if other != place}
        most = max(wrong, key=lambda other: wrong[other])
        taken = f"{printable(rows[most]['class'])[:24]} ({wrong[most]})" if wrong[most] else "-"
        lines.append(
            f"{printable(row['class'])[:24]:<{width}}  {row['support']:>6}  {row['recall']:.4f}  "
            f"{row['precision']:.4f}     {row['f1']:.4f}  {taken}"
        )
    if len(rows) > SHOWN:
        lines.append(f"and {len(rows) - SHOWN} more classes; --json has them all")
    return "\n".join(lines)
