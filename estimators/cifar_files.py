"""Images as the binary versions of CIFAR-10 and CIFAR-100 publish them; nothing pickled is read."""

import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimators.idx_files import check_digest
from estimators.paths import is_folder

SIDE = 32
PIXELS = 3 * SIDE * SIDE  # red, then green, then blue, each row by row


@dataclass(frozen=True, slots=True)
class Layout:
    """What a binary version consists of.

    Attributes:
        archive: Name of the published archive.
        digest: Its MD5, in hexadecimal digits.
        folder: The folder in it.
        train: Files of the training images.
        test: File of the test images.
        names: File with the name of each class, one a line.
        counts: Number of training and of test images.
        labels: Bytes before the pixels of an image; the last one is its class.
        pickled: Names of the version that is not read.
    """

    archive: str
    digest: str
    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    counts: tuple[int, int]
    labels: int
    pickled: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Records:
    """Images and labels.

    Attributes:
        images: ``(images, 3, 32, 32)``.
        labels: ``(images,)``.
        classes: Name of each class.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def read_records(place: Path, layout: Layout) -> Records:
    """Training images and then test images.

    Args:
        place: The archive, read where it lies, or the folder that was in it.
        layout: What there must be.

    Raises:
        ValueError: If a file is missing, cannot be read, has another size or a label that is no
            class, or the archive is not the published one.
    """
    files = (layout.names, *layout.train, layout.test)
    if is_folder(place):
        contents = [_of_file(place / name) for name in files]
    else:
        contents = _of_archive(place, [f"{layout.folder}/{name}" for name in files], layout.digest)
    classes = _classes(contents[0], place / layout.names)
    parts = [
        _records(content, place / name, layout, count, len(classes))
        for name, content, count in zip(files[1:], contents[1:], _counts(layout), strict=True)
    ]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Records(images, labels.astype(np.int64), classes)


def _counts(layout: Layout) -> list[int]:
    """Number of images in each file."""
    train, test = layout.counts
    return [train // len(layout.train)] * len(layout.train) + [test]


def _records(
    content: bytes, file: Path, layout: Layout, count: int, classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images and labels of one file.

    Raises:
        ValueError: If it has another size, or a label that is no class.
    """
    size = layout.labels + PIXELS
    if len(content) != count * size:
        raise ValueError(
            f"{file}: must hold {count:,} images of {size:,} bytes, got {len(content):,} bytes"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(count, size)
    labels = records[:, layout.labels - 1]
    if labels.max() >= classes:
        at = int(labels.argmax())
        raise ValueError(f"{file}: labels must be below {classes}, got {labels[at]} at image {at}")
    return records[:, layout.labels :].reshape(count, 3, SIDE, SIDE), labels


def _classes(content: bytes, file: Path) -> tuple[str, ...]:
    """Names of the classes.

    Raises:
        ValueError: If they are no text, or fewer than two.
    """
    try:
        names = tuple(line.strip() for line in content.decode().splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: must be text: {error}") from error
    if len(names) < 2:
        raise ValueError(f"{file}: must name at least 2 classes, got {len(names)}")
    return names


def _of_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from error


def _of_archive(archive: Path, names: list[str], digest: str) -> list[bytes]:
    """What some members of an archive hold; nothing is unpacked to the disk.

    Raises:
        ValueError: If it is not the published archive.
    """
    try:
        with archive.open("rb") as stream:
            found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
        check_digest(archive, found.hexdigest(), digest)
        with tarfile.open(archive, "r:gz") as packed:
            held = {member.name: member for member in packed if member.name in names}
            members = [packed.extractfile(held[name]) for name in names]
            return [b"" if member is None else member.read() for member in members]
    except ValueError:
        raise
    except Exception as error:  # damaged archives raise all sorts of things
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"{archive}: cannot be read: {reason:.200}") from error
