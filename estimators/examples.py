"""Image files with their labels, from listing them to tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from estimators.data import ImageData, assemble
from estimators.image_files import Header, read_header, read_image
from estimators.memory import check_fits
from estimators.scoring import resized
from estimators.splits import partition


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
    examples: Sequence[Example], *, root: Path, image_size: tuple[int, int] | None
) -> ImageData:
    """The images in memory, all of one size, split and normalised.

    Grey if every file is, else red, green and blue; classes are in the order of their names.

    Args:
        examples: What there is; either all have a split or none.
        root: What paths are told relative to; its name is that of the data.
        image_size: Height and width; by default that of the images if it is the same for all,
            else their median height and median width.

    Raises:
        ValueError: If a file is no whole image, splits or classes cannot be used, or the images
            do not fit into memory.
    """
    classes = _classes(examples)
    place_of = {name: place for place, name in enumerate(classes)}
    targets = np.array([place_of[example.label] for example in examples], dtype=np.int64)
    splits = [example.split for example in examples if example.split is not None]
    named = [example.group for example in examples if example.group is not None]
    groups = np.array(named) if named else None
    parts = partition(
        targets,
        classes,
        given=np.array(splits, dtype=np.int64) if splits else None,
        groups=groups,
    )
    headers = [_header(example.path) for example in examples]
    height, width = _common_size(headers) if image_size is None else image_size
    channels = 1 if all(header.grey for header in headers) else 3
    check_fits(len(examples), channels, height, width)
    pixels = np.empty((len(examples), channels, height, width), dtype=np.float32)
    for place, example in enumerate(examples):
        pixels[place] = resize(read_image(example.path, channels)[np.newaxis], (height, width))[0]
    titles = [str(example.path.relative_to(root)) for example in examples]
    data = assemble(pixels, targets, parts, name=root.name, classes=classes, titles=titles)
    if groups is None:
        return data
    _, numbers = np.unique(groups[np.concatenate(parts[:2])], return_inverse=True)
    return replace(data, groups=numbers.astype(np.int64))


def resize(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Images ``(images, channels, height, width)`` of that height and width.

    It is what ``nas predict`` does to an image, so that both see the same.
    """
    images: NDArray[np.float32] = resized(torch.from_numpy(pixels), size).numpy()
    return images


def _header(path: Path) -> Header:
    """Raises ValueError for what is no file, which opening might wait for."""
    if path.is_symlink() and not path.exists():
        raise ValueError(f"{path}: is a link that leads nowhere")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is no file")
    return read_header(path)


def _classes(examples: Sequence[Example]) -> list[str]:
    """Names of the classes.

    Raises:
        ValueError: If there is one alone, or a name is no text.
    """
    classes = sorted({example.label for example in examples})
    if len(classes) < 2:
        raise ValueError(f"there must be at least 2 classes, got {', '.join(classes) or 'none'}")
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
