"""Labelled images as tensors, split into training, validation and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor

SPLIT_SEED = 0  # one split per data set, whatever the seed of the run
VALIDATION_SHARE = 0.15
TEST_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Split:
    """Some of the images.

    Attributes:
        images: float32, ``(images, channels, height, width)``, normalised per channel.
        labels: int64, ``(images,)``, positions in ``ImageData.classes``.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return int(self.images.shape[0])


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set for classification.

    Attributes:
        name: What the user called it.
        train: What children are trained on.
        validation: What children are scored on.
        test: What is read once, at the very end.
        classes: Name of each class, by label.
        mean: Mean of each channel over the training images, values scaled to [0, 1].
        std: Standard deviation likewise.
        fingerprint: Digest of all images, labels and the split.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of one image."""
        channels, height, width = self.train.images.shape[1:]
        return int(channels), int(height), int(width)


def digits() -> ImageData:
    """1,797 handwritten digits, 8x8 grey pixels (scikit-learn's copy of the UCI test set).

    Three nearest neighbours reach 0.987 on it: it proves that a search runs, never its quality.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, rarely needed

    bunch = load_digits()
    images = np.asarray(bunch.images, dtype=np.float32) / 16
    return from_arrays(images, np.asarray(bunch.target), name="digits")


def from_arrays(
    images: NDArray[np.generic],
    labels: NDArray[np.generic] | Sequence[int],
    *,
    name: str = "arrays",
    classes: Sequence[str] | None = None,
) -> ImageData:
    """Split arrays 70 : 15 : 15 into training, validation and test, stratified by label.

    Args:
        images: ``(images, height, width)`` or ``(images, height, width, channels)``; uint8 from
            0 to 255, or floats from 0 to 1.
        labels: ``(images,)`` whole numbers from 0 on, each with at least 7 images.
        name: What to call the data in the record of the run.
        classes: Name of each class; by default the numbers.

    Raises:
        ValueError: If shapes, types or ranges are others, or a class is too small to split.
    """
    pixels = _pixels(np.asarray(images))
    targets, names = _targets(np.asarray(labels), len(pixels), classes)
    rest, test = _split(np.arange(len(targets)), targets, TEST_SHARE)
    train, validation = _split(rest, targets, VALIDATION_SHARE / (1 - TEST_SHARE))
    mean = pixels[train].mean(axis=(0, 2, 3), dtype=np.float64)
    std = np.maximum(pixels[train].std(axis=(0, 2, 3), dtype=np.float64), 1e-3)
    normalised = (pixels - mean.reshape(1, -1, 1, 1)) / std.reshape(1, -1, 1, 1)
    tensors = torch.from_numpy(normalised.astype(np.float32))
    targets_tensor = torch.from_numpy(targets)
    return ImageData(
        name=name,
        train=Split(tensors[train], targets_tensor[train]),
        validation=Split(tensors[validation], targets_tensor[validation]),
        test=Split(tensors[test], targets_tensor[test]),
        classes=names,
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
        fingerprint=_fingerprint(pixels, targets, train, validation, test),
    )


def _targets(
    labels: NDArray[np.generic], count: int, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as int64, and the name of each class."""
    if labels.ndim != 1 or len(labels) != count:
        raise ValueError(f"labels must have shape ({count},), got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, got {labels.dtype}")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= count:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"labels must be numbered from 0 on without gaps, got {wrong}")
    targets = labels.astype(np.int64)
    counts = np.bincount(targets)
    names = tuple(str(label) for label in range(len(counts))) if classes is None else tuple(classes)
    if len(names) != len(counts) or len(names) < 2:
        raise ValueError(f"labels must name {max(2, len(names))} classes, got {len(counts)}")
    if counts.min() < 7:
        smallest = int(counts.argmin())
        raise ValueError(
            f"every class must have at least 7 images, got {counts[smallest]} of {names[smallest]}"
        )
    return targets, names


def _fingerprint(*arrays: NDArray[np.generic]) -> str:
    state = blake2b(digest_size=16)
    for array in arrays:
        state.update(str(array.shape).encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def _pixels(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Images as float32 ``(images, channels, height, width)`` in [0, 1]."""
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or 0 in images.shape or images.shape[3] not in {1, 2, 3, 4}:
        raise ValueError(
            "images must have shape (images, height, width) or (images, height, width, channels) "
            f"with 1 to 4 channels, got {images.shape}"
        )
    if images.dtype == np.uint8:
        pixels = images.astype(np.float32) / 255
    elif np.issubdtype(images.dtype, np.floating):
        pixels = images.astype(np.float32)
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise ValueError("images of floats must lie from 0 to 1; divide by the largest value")
    else:
        raise ValueError(f"images must be uint8 or floats, got {images.dtype}")
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _split(
    positions: NDArray[np.int64], labels: NDArray[np.generic], share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = train_test_split(
        positions, test_size=share, random_state=SPLIT_SEED, stratify=labels[positions]
    )
    return np.sort(first), np.sort(second)
