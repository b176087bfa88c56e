"""Images of a user's data as an exported network reads them, with its classes."""

from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from estimators.data import ImageData, Split
from estimators.lazy_images import joined, resized_images
from estimators.normalisation import renormalised
from nas.datasets import Data, is_path, options
from nas.errors import usage_error
from nas.export import Preprocessing, Winner
from nas.images import images_of
from nas.real_images import CALIBRATION, RealImages, real_images
from search_spaces.graph import Graph

SPLITS = ("test", "validation", "train", "all")


@dataclass(frozen=True, slots=True)
class Readable:
    """Data in the terms of one network.

    Attributes:
        images: All splits, with the network's channels, mean and deviation.
        wanted: What it asks of images.
    """

    images: ImageData
    wanted: Preprocessing

    def split(self, name: str) -> Split:
        """One of ``SPLITS``, labelled by the network's classes, as large as its training's data.

        Raises:
            NasError: If the data have a class that the network does not know (exit code 2).
        """
        chosen = _matched(_chosen(self.images, name), self.images.classes, self.wanted.classes)
        if self.wanted.size is None:
            return chosen
        return Split(resized_images(chosen.images, self.wanted.size), chosen.labels)

    def sample(self, graph: Graph, *, calibration: int | None) -> RealImages:
        """What an export of the network is calibrated with and checked on; no test image.

        Args:
            graph: The network.
            calibration: Training images to calibrate with, at least 1; None for ``CALIBRATION``.

        Raises:
            NasError: As ``split``.
        """
        return real_images(
            self.images.name,
            self.split("train"),
            self.split("validation"),
            size=tuple(int(side) for side in graph.input_shape[1:]),
            calibration=CALIBRATION if calibration is None else calibration,
        )


def readable(  # noqa: PLR0913 - the options of the command line, by name
    winner: Winner,
    source: str | Path,
    data: Data,
    *,
    group: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    whole: bool = False,
) -> Readable:
    """Read data for an exported network.

    Args:
        winner: The network.
        source: What the user called it.
        data: As for ``nas.search``, and so are the rest.
        group: Column of a CSV file with what stays together in one split.
        data_dir: Folder with the files of a published data set.
        download: Whether to fetch published files that are not there.
        whole: Whether images of a path are not divided, as all are wanted.

    Raises:
        NasError: If the network does not say what it reads, or the data cannot be used or have
            other channels (exit code 2).
    """
    wanted = winner.preprocessing
    if winner.weights is None or wanted is None:
        lacks = "weights" if winner.weights is None else "preprocessing and classes"
        raise usage_error(f"{source} has no {lacks}; name a finished run or what it exported")
    size = None if wanted.size is None else "x".join(str(side) for side in wanted.size)
    read = options(size if is_path(data) else None, group, data_dir, download=download)
    images = images_of(data, read, whole=whole)
    try:
        fitted = renormalised(
            images, channels=int(winner.graph.input_shape[0]), mean=wanted.mean, std=wanted.std
        )
    except ValueError as error:
        raise usage_error(f"data: {error}, for {source}") from error
    return Readable(fitted, wanted)


def _chosen(data: ImageData, split: str) -> Split:
    if split != "all":
        found: Split = getattr(data, split)
        return found
    parts = (data.train, data.validation, data.test)
    images = reduce(joined, (part.images for part in parts))
    return Split(images, torch.cat([part.labels for part in parts]))


def _matched(split: Split, theirs: tuple[str, ...], ours: tuple[str, ...]) -> Split:
    """The split with labels by the network's classes.

    Raises:
        NasError: If the data have a class that the network does not know (exit code 2).
    """
    unknown = [name for name in theirs if name not in ours]
    if unknown:
        known = ", ".join(ours[:5]) + (", ..." if len(ours) > 5 else "")
        raise usage_error(f"data: class {unknown[0]!r:.80} must be one of the network's: {known}")
    positions: Tensor = torch.tensor([ours.index(name) for name in theirs])
    return Split(split.images, positions[split.labels])
