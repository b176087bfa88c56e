"""Map-style data sets of Python: what has a length and yields an image with its label by number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from estimators.data import ImageData, Pixels, assemble, targets_of
from estimators.examples import resize
from estimators.image_files import pixels_of_image
from estimators.memory import check_fits
from estimators.pixel_store import is_large, kept
from estimators.samples import Samples
from estimators.splits import SPLIT_WORDS, SPLITS, partition

IMAGE_KEYS = ("image", "img", "pixel_values")
LABEL_KEYS = ("label", "labels", "target")


def from_samples(
    data: Samples | Mapping[str, Samples], *, image_size: tuple[int, int] | None = None
) -> ImageData:
    """A map-style data set; each sample is read once, in order.

    A sample is an image and its label: a pair, or a mapping with one of ``IMAGE_KEYS`` and one of
    ``LABEL_KEYS``. Images are Pillow's; or tensors ``(channels, height, width)`` or ``(height,
    width)``; or arrays ``(height, width[, channels])``; uint8, or floats from 0 to 1. Labels are
    whole numbers from 0 on; names of classes are those in ``classes`` of the first set, if it has
    them. Images of one channel get three where others have three.

    Args:
        data: One set, which is split 70 : 15 : 15, or sets by split (``train``, ``val`` or
            ``validation``, ``test``); what is missing is split off the training images.
        image_size: Height and width; by default that of the images if it is the same for all, else
            their median height and width; a large set (``is_large``) must have one size.

    Raises:
        ValueError: If a sample cannot be read or is something else; the message has its number.
    """
    sets = _by_split(data)
    labels: list[int] = []
    given: list[int] = []
    titles: list[str] = []

    def images() -> Iterator[NDArray[np.float32]]:
        for place, samples in sets.items():
            for number in range(_length(samples)):
                where = f"sample {number}" if place < 0 else f"{SPLITS[place]}: sample {number}"
                image, label = _sample(samples, number, where)
                labels.append(label)
                given.append(place)
                titles.append(where)
                yield image if image_size is None else _resized(image, image_size)

    pixels = _pixels_of_all(images(), sum(map(_length, sets.values())), titles)
    targets, names = targets_of(np.array(labels), len(labels), _names(next(iter(sets.values()))))
    places = np.array(given) if given[0] >= 0 else None
    parts = partition(targets, names, given=places)
    return assemble(pixels, targets, parts, name="samples", classes=names, titles=titles)


def _pixels_of_all(
    images: Iterator[NDArray[np.float32]], count: int, titles: Sequence[str]
) -> Pixels:
    """All images, of one size and number of channels; a large set in a file of the cache.

    Args:
        images: One after another.
        count: How many there are.
        titles: What to call each; filled while they are read.

    Raises:
        ValueError: If there are none, they do not go together, or there is no room for them.
    """
    first = next(images, None)
    if first is None:
        raise ValueError("there must be images to train on, got none")
    shape = (count, *first.shape)
    images = chain([first], images)
    if is_large(*shape):
        return kept(shape, _alike(images, first.shape, titles))
    check_fits(*shape)
    return _stacked(list(images), titles)


def _alike(
    images: Iterable[NDArray[np.float32]], shape: tuple[int, ...], titles: Sequence[str]
) -> Iterator[NDArray[np.float32]]:
    """Images of one shape; one channel spreads over three.

    Raises:
        ValueError: If another shape comes.
    """
    for number, image in enumerate(images):
        if image.shape[1:] != shape[1:]:
            raise ValueError(
                f"{titles[number]}: must have {shape[1]}x{shape[2]} pixels as the first has, got "
                f"{image.shape[1]}x{image.shape[2]}; --image-size makes sizes equal"
            )
        _check_channels(image, shape[0], titles[number])
        yield np.broadcast_to(image, shape)


def _by_split(data: Samples | Mapping[str, Samples]) -> dict[int, Samples]:
    """Sets by position in ``SPLITS``; by -1 if there is one for all.

    Raises:
        ValueError: If a name is no split, or one is named twice.
    """
    if not isinstance(data, Mapping):
        return {-1: data}
    unknown = [name for name in data if name not in SPLIT_WORDS]
    if unknown or "train" not in data or {"val", "validation"} <= set(data):
        known = ", ".join(SPLIT_WORDS)
        raise ValueError(
            f"sets must be named by split ({known}), with train among them and validation once, "
            f"got {', '.join(map(str, data)):.80}"
        )
    return {SPLIT_WORDS[name]: samples for name, samples in data.items()}


def _length(samples: Samples) -> int:
    """Raises ValueError for what has none, such as a stream."""
    try:
        return len(samples)
    except TypeError as error:
        raise ValueError(
            f"data must have a length and samples by number, got {type(samples).__name__}; read a "
            "stream into a list of pairs first"
        ) from error


def _names(samples: Samples) -> tuple[str, ...] | None:
    """Names of the classes, if the set has them."""
    names = getattr(samples, "classes", None)
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def _sample(samples: Samples, number: int, where: str) -> tuple[NDArray[np.float32], int]:
    """Pixels ``(channels, height, width)`` from 0 to 1, and label.

    Raises:
        ValueError: If it is no such sample.
    """
    try:
        sample = samples[number]
    except Exception as error:  # a set of the user's own may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{where}: cannot be read: {reason:.200}") from error
    image, label = _parts(sample, where)
    try:
        return _pixels(image), _label(label)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _parts(sample: Any, where: str) -> tuple[Any, Any]:
    if isinstance(sample, tuple | list) and len(sample) == 2:
        return sample[0], sample[1]
    if isinstance(sample, Mapping):
        images = [sample[key] for key in IMAGE_KEYS if key in sample]
        labels = [sample[key] for key in LABEL_KEYS if key in sample]
        if len(images) == len(labels) == 1:
            return images[0], labels[0]
    raise ValueError(
        f"{where}: must be a pair of image and label, or a mapping with one of "
        f"{', '.join(IMAGE_KEYS)} and one of {', '.join(LABEL_KEYS)}, got {_kind(sample)}"
    )


def _kind(value: Any) -> str:
    """What to call a value of the wrong kind, in few words."""
    if isinstance(value, Mapping):
        return f"one with {', '.join(map(str, value)) or 'nothing'}"[:80]
    many = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{many}"


def _label(label: Any) -> int:
    plain = label
    if isinstance(label, Tensor | np.ndarray | np.generic) and label.ndim == 0:
        plain = label.item()
    if isinstance(plain, bool) or not isinstance(plain, int):
        raise ValueError(f"label must be a whole number from 0 on, got {label!r:.80}")  # noqa: TRY004 - of data
    return plain


def _pixels(image: Any) -> NDArray[np.float32]:
    """An image as float32 ``(channels, height, width)`` from 0 to 1."""
    if isinstance(image, Image.Image):
        return pixels_of_image(image)
    if isinstance(image, Tensor):
        values = (
            image.detach().cpu().to(torch.float32 if image.is_floating_point() else image.dtype)
        )
        array = values.numpy()
    elif isinstance(image, np.ndarray):
        array = np.moveaxis(image, 2, 0) if image.ndim == 3 else image
    else:
        raise ValueError(f"image must be Pillow's, a tensor or an array, got {_kind(image)}")  # noqa: TRY004 - of data
    array = array[np.newaxis] if array.ndim == 2 else array
    if array.ndim != 3 or 0 in array.shape or array.shape[0] > 4:
        raise ValueError(
            "image must have height and width and 1 to 4 channels, first in a tensor and last in "
            f"an array, got {tuple(image.shape)}"
        )
    pixels: NDArray[np.float32] = array.astype(np.float32)
    if array.dtype == np.uint8:
        return pixels / np.float32(255)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"image must be uint8 or floats, got {array.dtype}")
    lowest, highest = float(array.min()), float(array.max())
    if not (lowest >= 0 and highest <= 1):  # NaN neither
        raise ValueError(
            f"image of floats must lie from 0 to 1, got {lowest:.3g} to {highest:.3g}; leave "
            "normalising out, a search does it"
        )
    return pixels


def _resized(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    pixels: NDArray[np.float32] = resize(image[np.newaxis], size)[0]
    return pixels


def _stacked(images: list[NDArray[np.float32]], titles: Sequence[str]) -> NDArray[np.float32]:
    """All images in one array, of one size and number of channels.

    Raises:
        ValueError: If numbers of channels differ beyond 1 and 3, or they do not fit into memory.
    """
    channels = max(len(image) for image in images)
    for image, title in zip(images, titles, strict=True):
        _check_channels(image, channels, title)
    sides = np.array([image.shape[1:] for image in images])
    height, width = (max(1, round(float(side))) for side in np.median(sides, axis=0))
    check_fits(len(images), channels, height, width)
    pixels = np.empty((len(images), channels, height, width), dtype=np.float32)
    for place, image in enumerate(images):
        pixels[place] = _resized(image, (height, width))  # one channel spreads over three
    return pixels


def _check_channels(image: NDArray[np.float32], channels: int, title: str) -> None:
    if len(image) != channels and not (channels == 3 and len(image) == 1):
        raise ValueError(f"{title}: must have {channels} channels as others have, got {len(image)}")
