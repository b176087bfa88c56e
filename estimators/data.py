"""Labelled images as tensors, split into training, validation and test."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from estimators.duplicates import duplicates
from estimators.lazy_images import Images, LazyImages
from estimators.memory import check_fits
from estimators.pixel_store import PixelStore, is_large
from estimators.splits import LEAST, Parts, Positions, partition

Pixels = NDArray[np.float32] | PixelStore
MOST_CLASSES = 2**16  # of images that are only scored
CHUNK = 1024  # images whose values are in float64 at a time


@dataclass(frozen=True, slots=True)
class Split:
    """Some of the images.

    Attributes:
        images: float32, ``(images, channels, height, width)``, normalised per channel; of large
            sets only when they are taken.
        labels: int64, ``(images,)``, positions in ``ImageData.classes``.
    """

    images: Images
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
        fingerprint: Digest of all images, labels, the split, and names of classes that are not
            just numbers.
        notice: One line on images that are in two splits, or on where the data were found.
        groups: A number for each training and then validation image; images of one number stay
            together in whatever is made of these two splits. None if nothing must.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    notice: str = ""
    groups: NDArray[np.int64] | None = None

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
            0 to 255, which large sets stay (``is_large``), or floats from 0 to 1.
        labels: ``(images,)`` whole numbers from 0 on, each with at least 7 images.
        name: What to call the data in the record of the run.
        classes: Name of each class; by default the numbers.

    Raises:
        ValueError: If shapes, types or ranges are others, a class is too small to split, or the
            images do not fit into memory.
    """
    values = np.asarray(images)
    store = stored([values])
    if store is None and values.ndim in {3, 4}:
        check_fits(len(values), math.prod(values.shape[3:]), *values.shape[1:3])
    pixels = pixels_of(values) if store is None else store
    targets, names = targets_of(np.asarray(labels), len(pixels), classes)
    return assemble(pixels, targets, partition(targets, names), name=name, classes=names)


def assemble(
    pixels: Pixels,
    targets: NDArray[np.int64],
    parts: Parts,
    *,
    name: str,
    classes: Sequence[str],
    titles: Sequence[str] | None = None,
) -> ImageData:
    """Splits, normalised by the training images.

    Args:
        pixels: ``(images, channels, height, width)`` from 0 to 1, or as 8 bits.
        targets: Class of each image.
        parts: Positions of the images of each split.
        name: What to call the data.
        classes: Name of each class.
        titles: What to call each image where images are in two splits; by default its position.

    Raises:
        ValueError: If all images are equal and some are there to be scored on.
    """
    if len(parts[1]):
        _check_varied(pixels)
    mean, std = _statistics(pixels, parts[0])
    train, validation, test = (
        Split(_normalised(pixels, part, mean, std), torch.from_numpy(targets[part]))
        for part in parts
    )
    return ImageData(
        name=name,
        train=train,
        validation=validation,
        test=test,
        classes=tuple(classes),
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
        fingerprint=_fingerprint(
            pixels.values if isinstance(pixels, PixelStore) else pixels,
            targets,
            *parts,
            classes=classes,
        ),
        notice=duplicates(pixels, targets, parts, titles),
    )


def _check_varied(pixels: Pixels) -> None:
    """Refuse images that are all equal.

    Raises:
        ValueError: If they are.
    """
    first = pixels[:1]
    for chunk in _chunks(pixels, np.arange(len(pixels))):
        if (pixels[chunk] != first).any():
            return
    raise ValueError(f"images must differ, got {len(pixels):,} equal ones")


def _chunks(pixels: Pixels, positions: Positions) -> list[Positions]:
    count = pixels.chunk if isinstance(pixels, PixelStore) else CHUNK
    return [positions[start : start + count] for start in range(0, len(positions), count)]


def _statistics(
    pixels: Pixels, positions: Positions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel; the latter is at least 1e-3."""
    chunks = _chunks(pixels, positions)
    values = len(positions) * pixels.shape[2] * pixels.shape[3]
    sums = [pixels[chunk].sum(axis=(0, 2, 3), dtype=np.float64) for chunk in chunks]
    mean: NDArray[np.float64] = np.sum(sums, axis=0) / values
    squares = [((pixels[chunk] - _over(mean)) ** 2).sum(axis=(0, 2, 3)) for chunk in chunks]
    return mean, np.maximum(np.sqrt(np.sum(squares, axis=0) / values), 1e-3)


def _normalised(
    pixels: Pixels, part: Positions, mean: NDArray[np.float64], std: NDArray[np.float64]
) -> Images:
    if isinstance(pixels, PixelStore):
        return LazyImages(pixels, torch.from_numpy(part), mean=mean.tolist(), std=std.tolist())
    images = np.empty((len(part), *pixels.shape[1:]), dtype=np.float32)
    for start, chunk in zip(range(0, len(part), CHUNK), _chunks(pixels, part), strict=True):
        images[start : start + CHUNK] = (pixels[chunk] - _over(mean)) / _over(std)
    return torch.from_numpy(images)


def _over(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One value for each channel, to be broadcast over images."""
    return values.reshape(1, -1, 1, 1)


def targets_of(
    labels: NDArray[np.generic],
    count: int,
    classes: Sequence[str] | None,
    *,
    whole: bool = False,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as int64, and the name of each class.

    Args:
        labels: ``(count,)`` whole numbers from 0 on.
        count: Number of images.
        classes: Name of each class; by default the numbers.
        whole: Whether classes may be missing, as for images that are only scored.

    Raises:
        ValueError: If they are anything else, or unless ``whole`` there is one class.
    """
    if labels.ndim != 1 or len(labels) != count:
        raise ValueError(f"labels must have shape ({count},), got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, got {labels.dtype}")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= (MOST_CLASSES if whole else count):
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"labels must be numbered from 0 on without gaps, got {wrong}")
    targets = labels.astype(np.int64)
    counts = np.bincount(targets)
    names = tuple(str(label) for label in range(len(counts))) if classes is None else tuple(classes)
    if whole:
        return targets, names
    if len(names) != len(counts) or len(names) < 2:
        raise ValueError(f"labels must name {max(2, len(names))} classes, got {len(counts)}")
    if counts.min() == 0:  # the rest depends on the splits
        raise ValueError(
            f"every class must have at least {LEAST} images, got 0 of {names[int(counts.argmin())]}"
        )
    return targets, names


def _fingerprint(*arrays: NDArray[np.generic], classes: Sequence[str]) -> str:
    state = blake2b(digest_size=16)
    for array in arrays:
        state.update(str(array.shape).encode())
        state.update(np.ascontiguousarray(array).data)
    if tuple(classes) != tuple(str(number) for number in range(len(classes))):
        state.update(json.dumps(list(classes)).encode())
    return state.hexdigest()


def stored(images: Sequence[NDArray[np.generic]]) -> PixelStore | None:
    """Images of 8 bits that are so many that they stay it (``is_large``), of one shape; else None.

    Args:
        images: Some or several times some, each as for ``from_arrays``.
    """
    shapes = {one.shape[1:] for one in images}
    if len(shapes) > 1 or any(
        one.dtype != np.uint8 or one.ndim not in {3, 4} or 0 in one.shape for one in images
    ):
        return None
    height, width, *channels = shapes.pop()
    number = channels[0] if channels else 1
    if number not in {1, 2, 3, 4} or not is_large(sum(map(len, images)), number, height, width):
        return None
    whole = np.concatenate(images).reshape(-1, height, width, number)
    return PixelStore(np.ascontiguousarray(whole.transpose(0, 3, 1, 2)))


def pixels_of(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Images as float32 ``(images, channels, height, width)`` in [0, 1].

    Args:
        images: As for ``from_arrays``.

    Raises:
        ValueError: If they are anything else.
    """
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
        if not np.isfinite(pixels).all():
            wrong = int(np.flatnonzero(~np.isfinite(pixels).all(axis=(1, 2, 3)))[0])
            raise ValueError(f"images must be finite, got NaN or infinity in image {wrong}")
        if pixels.min() < 0 or pixels.max() > 1:
            raise ValueError(
                "images of floats must lie from 0 to 1, got values from "
                f"{pixels.min():g} to {pixels.max():g}; divide by the largest value there can be"
            )
    else:
        raise ValueError(f"images must be uint8 or floats, got {images.dtype}")
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
