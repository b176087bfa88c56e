"""NumPy archives of images and labels."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimators.data import ImageData, Pixels, assemble, pixels_of, stored, targets_of
from estimators.examples import resize
from estimators.memory import BYTES, check_bytes, check_fits
from estimators.pixel_store import LARGE
from estimators.splits import SPLIT_WORDS, SPLITS, partition, undivided

_ROLES = {"x": "images", "images": "images", "y": "labels", "labels": "labels"}


def read_archive(
    file: Path, *, image_size: tuple[int, int] | None, whole: bool = False
) -> ImageData:
    """Images and labels of an ``.npz`` file, as ``from_arrays`` takes them.

    Its arrays are ``x`` and ``y``, or ``images`` and ``labels``; with splits each name has one of
    ``train``, ``val`` (or ``validation``) and ``test`` before or behind it: ``x_train``,
    ``train_images``. Labels may have a second axis of length 1.

    Args:
        file: The archive; pickled objects in it are never read.
        image_size: Height and width to resize to; by default as they are.
        whole: Whether all images are in the training split, few as they may be.

    Raises:
        ValueError: If it is damaged, holds other arrays, or they cannot be used.
    """
    try:
        return _read(file, image_size, whole=whole)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _arrays(
    file: Path, image_size: tuple[int, int] | None
) -> dict[tuple[str, int], NDArray[np.generic]]:
    """What is in the archive.

    Raises:
        ValueError: If it is damaged, too large, or holds other arrays.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            length = sum(member.file_size for member in archive.infolist())
            # With two copies at least, of what is not made into floats.
            kept = length >= LARGE and image_size is None
            check_bytes(length * (3 if kept else BYTES), f"arrays of {length:,} bytes")
        with np.load(file, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                "must hold plain arrays, got pickled objects; these are not read"
            ) from error
        raise
    except Exception as error:  # damaged archives raise all sorts of things
        reason = f"{error!s:.200}" if str(error) else type(error).__name__
        raise ValueError(f"cannot be read: {reason}") from error
    parts = {_part(name): values for name, values in found.items()}
    if len(parts) != len(found):
        raise ValueError(f"must hold each array once, got {', '.join(found):.200}")
    for name, values in found.items():
        if not isinstance(values, np.ndarray):
            raise ValueError(f"must hold arrays, got {name!r:.80}, which is none")  # noqa: TRY004 - of a file
    return parts


def _read(file: Path, image_size: tuple[int, int] | None, *, whole: bool) -> ImageData:
    found = _arrays(file, image_size)
    places = sorted({place for _, place in found})
    if not found or (len(places) > 1 and places[0] < 0):
        raise ValueError("must hold images and labels, with splits or without")
    labels, given = [], []
    for place in places:
        split = "" if place < 0 else f" of {SPLITS[place]}"
        for role in ("images", "labels"):
            if (role, place) not in found:
                raise ValueError(f"must hold {role}{split}")
        images = found["images", place]
        if not images.ndim:
            raise ValueError(f"images{split} must be an array of images, got a single value")
        labels.append(_labels(found["labels", place], len(images), split))
        given.append(np.full(len(images), place))
    pixels = _pixels([found["images", place] for place in places], image_size)
    targets, names = targets_of(np.concatenate(labels), len(pixels), None, whole=whole)
    known = np.concatenate(given) if places[0] >= 0 else None
    parts = undivided(len(targets)) if whole else partition(targets, names, given=known)
    return assemble(pixels, targets, parts, name=file.name, classes=names)


def _pixels(arrays: list[NDArray[np.generic]], image_size: tuple[int, int] | None) -> Pixels:
    """Images of all splits.

    Raises:
        ValueError: If they are no images, not of one shape, or do not fit into memory.
    """
    if image_size is None and (store := stored(arrays)) is not None:
        return store
    found = []
    for images in map(pixels_of, arrays):
        if image_size is not None:
            check_fits(len(images), images.shape[1], *image_size)
        found.append(images if image_size is None else resize(images, image_size))
    if len({images.shape[1:] for images in found}) > 1:
        raise ValueError("images of all splits must have one shape; --image-size makes sizes equal")
    return np.concatenate(found)


def _part(name: str) -> tuple[str, int]:
    """What an array is, and the position of its split; -1 without one.

    Raises:
        ValueError: If its name says neither.
    """
    words = name.split("_")
    roles = [_ROLES[word] for word in words if word in _ROLES]
    splits = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    if len(roles) != 1 or len(splits) > 1 or len(words) != len(roles) + len(splits):
        raise ValueError(
            f"must hold arrays such as x and y, or x_train and y_train, got {name!r:.80}"
        )
    return roles[0], splits[0] if splits else -1


def _labels(labels: NDArray[np.generic], count: int, split: str) -> NDArray[np.generic]:
    """Labels of one split, ``(count,)``.

    Raises:
        ValueError: If there are more or fewer.
    """
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.shape != (count,):
        raise ValueError(f"labels{split} must have shape ({count},), got {labels.shape}")
    return flat
