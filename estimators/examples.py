"""Image files with their labels, from listing them to tensors."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from estimators.data import ImageData, Pixels, assemble
from estimators.image_files import Header, read_header, read_image
from estimators.memory import check_fits
from estimators.paths import is_file, is_folder, is_there, leads_nowhere
from estimators.pixel_store import is_large, kept
from estimators.resizing import resized
from estimators.splits import partition, undivided


@dataclass(frozen=True, slots=True)
class Example:
    """One image file and what is known of it.

    Attributes:
        path: The file.
        label: Name of its class.
        split: Position in ``SPLITS``; None if the user gave none.
        group: What must stay together in one split; None if nothing must.
    """

    path: Path
    label: str
    split: int | None = None
    group: str | None = None


def read_examples(
    examples: Sequence[Example],
    *,
    source: Path,
    image_size: tuple[int, int] | None,
    whole: bool = False,
) -> ImageData:
    """The images of one size, split and normalised, in memory or, if large, in a file of the cache.

    Grey if every file is, else red, green and blue; classes are in the order of their names, or of
    the numbers that a CSV file has for all of them.

    Args:
        examples: What there is; either all have a split or none.
        source: The folder or file that names them. Paths are told relative to the folder, or to
            that of the file; its name is that of the data.
        image_size: Height and width; by default that of the images if it is the same for all,
            else their median height and median width.
        whole: Whether all images are in the training split, few as they may be, and of one class.

    Raises:
        ValueError: If a file is no whole image, splits or classes cannot be used, or the images
            do not fit into memory or, if large, onto the disk.
    """
    splits = [example.split for example in examples if example.split is not None]
    named = [example.group for example in examples if example.group is not None]
    groups = np.array(named) if named else None
    try:
        names = _classes(examples, least=1 if whole else 2)
        targets = _numbered(examples, names)
        given = np.array(splits, dtype=np.int64) if splits else None
        parts = (
            undivided(len(targets))
            if whole
            else partition(targets, names, given=given, groups=groups)
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if not is_folder(source):
        with suppress(InvalidOperation):  # only the classes' numbers depend on it, no split does
            names = sorted(names, key=Decimal)
            targets = _numbered(examples, names)
    headers = [_header(example.path) for example in examples]
    height, width = _common_size(headers) if image_size is None else image_size
    channels = 1 if all(header.grey for header in headers) else 3
    pixels = _pixels([example.path for example in examples], channels, (height, width))
    root = source if is_folder(source) else source.parent
    titles = [str(example.path.relative_to(root)) for example in examples]
    try:
        data = assemble(pixels, targets, parts, name=root.name, classes=names, titles=titles)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if groups is None or whole:
        return data
    _, numbers = np.unique(groups[np.concatenate(parts[:2])], return_inverse=True)
    return replace(data, groups=numbers.astype(np.int64))


def _pixels(paths: Sequence[Path], channels: int, size: tuple[int, int]) -> Pixels:
    """The images of some files, of one size.

    Large sets are read once into a file of the user's cache, which is there the next time.

    Raises:
        ValueError: If a file is no whole image, or memory or disk have no room for them.
    """
    shape = (len(paths), channels, *size)

    def images() -> Iterator[NDArray[np.float32]]:
        for path in paths:
            yield resize(read_image(path, channels)[np.newaxis], size)[0]

    if is_large(*shape):
        return kept(shape, images(), name=_identity(paths, shape))
    check_fits(*shape)
    pixels = np.empty(shape, dtype=np.float32)
    for place, image in enumerate(images()):
        pixels[place] = image
    return pixels


def _identity(paths: Sequence[Path], shape: tuple[int, ...]) -> str:
    """Digest of what files are read, as far as their names, lengths and times of change tell."""
    found = [(str(path.absolute()), *_told(path)) for path in paths]
    return blake2b(json.dumps([shape, found]).encode(), digest_size=16).hexdigest()


def _told(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def resize(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Images ``(images, channels, height, width)`` of that height and width.

    It is what ``nas predict`` does to an image, so that both see the same.
    """
    images: NDArray[np.float32] = resized(torch.from_numpy(pixels), size).numpy()
    return images


def _header(path: Path) -> Header:
    """Raises ValueError for what is no file, which opening might wait for."""
    if leads_nowhere(path):
        raise ValueError(f"{path}: is a link that leads nowhere")
    if is_there(path) and not is_file(path):
        raise ValueError(f"{path}: is no file")
    return read_header(path)


def _numbered(examples: Sequence[Example], classes: Sequence[str]) -> NDArray[np.int64]:
    """The class of each image, by its place among some."""
    place_of = {name: place for place, name in enumerate(classes)}
    return np.array([place_of[example.label] for example in examples], dtype=np.int64)


def _classes(examples: Sequence[Example], *, least: int) -> list[str]:
    """Names of the classes, sorted as texts.

    Raises:
        ValueError: If there are fewer than ``least``, or a name is no text.
    """
    classes = sorted({example.label for example in examples})
    if len(classes) < least:
        known = ", ".join(classes) or "none"
        raise ValueError(f"there must be at least {least} classes, got {known}")
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"names of classes must be UTF-8, got {name!r:.80}") from error
    return classes


def _common_size(headers: Sequence[Header]) -> tuple[int, int]:
    sizes = np.array([(header.height, header.width) for header in headers])
    height, width = np.rint(np.median(sizes, axis=0)).astype(int).tolist()
    return max(1, height), max(1, width)
