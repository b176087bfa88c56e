"""Images of a user's data that an exported network is checked on, beside random ones."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from estimators.data import ImageData, Split
from estimators.resizing import resized
from search_spaces.graph import Graph

CALIBRATION = 200  # training images that quantisation is calibrated with, by default
MOST_VALIDATION = 2_000  # images that a quantised network is measured on
FEW = 32  # images that a format is compared on


@dataclass(frozen=True, slots=True)
class RealImages:
    """Images as the network reads them; none of the test split.

    Attributes:
        name: What the data are called.
        calibration: Training images, float32, ``(images, channels, height, width)``.
        validation: Validation images, labelled by the network's outputs.
    """

    name: str
    calibration: Tensor
    validation: Split

    @property
    def few(self) -> Tensor:
        """Some validation images, of all classes as far as there is room."""
        step = max(1, len(self.validation) // FEW)
        return self.validation.images[::step][:FEW]


def real_images(
    name: str,
    train: Split,
    validation: Split,
    *,
    size: tuple[int, ...],
    calibration: int = CALIBRATION,
) -> RealImages:
    """A sample of the data, always the same.

    Args:
        name: What the data are called.
        train: Training images.
        validation: Validation images, of which at most ``MOST_VALIDATION`` are taken.
        size: ``(height, width)`` that the network reads.
        calibration: Training images to take, at least 1; all if there are fewer.
    """
    some, measured = stratified(train, calibration), stratified(validation, MOST_VALIDATION)
    return RealImages(
        name=name,
        calibration=resized(some.images[:], size),
        validation=Split(resized(measured.images[:], size), measured.labels),
    )


def few_images(data: ImageData, graph: Graph) -> RealImages:
    """The few images of the data that a network was trained on which its export is compared on."""
    return real_images(
        data.name,
        stratified(data.train, FEW),
        stratified(data.validation, FEW),
        size=tuple(int(side) for side in graph.input_shape[1:]),
    )


def stratified(split: Split, count: int) -> Split:
    """At most ``count`` images, of each class its share, within one; seeded, always the same."""
    if len(split) <= count:
        return split
    order = np.random.default_rng(0).permutation(len(split))
    by_class = order[np.argsort(split.labels.numpy()[order], kind="stable")]
    places: NDArray[np.int64] = np.arange(count) * len(split) // count
    chosen = torch.from_numpy(by_class[places])
    return Split(split.images[chosen], split.labels[chosen])
