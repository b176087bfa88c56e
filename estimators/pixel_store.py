"""Images of 8 bits, in memory or in a file of their own that is mapped into it."""

import math
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from estimators.cache import cache
from estimators.paths import is_there
from estimators.splits import Positions

# Values of all images, from which on they are kept as 8 bits: 2 GiB while they are read as float32.
# It is a matter of the data alone, so that a run reads the same wherever it goes on.
LARGE = 2**28
CHUNK_VALUES = 2**23  # 64 MiB as float64
PART = ".part"  # ends the name of a file that is being written
ABANDONED = 24 * 3600.0  # seconds since it was last written to
# Where a mapping can be told what will be read; elsewhere reading waits for the disk.
_ADVISED = hasattr(mmap, "MADV_WILLNEED")


def is_large(count: int, channels: int, height: int, width: int) -> bool:
    """Whether so many images of that shape are kept as 8 bits."""
    return count * channels * height * width >= LARGE


@final
class PixelStore:
    """Images of 8 bits. What is taken of them are floats from 0 to 1.

    One in a file is sent to other processes by the name of the file, and whatever many processes
    of a machine read of it, the system holds once.

    Attributes:
        values: uint8, ``(images, channels, height, width)``; read-only if mapped.
    """

    def __init__(self, values: NDArray[np.uint8], mapped: "Mapped | None" = None) -> None:
        """Hold images that are in memory, or mapped into it (``open_store``)."""
        self.values, self._mapped = values, mapped

    def __reduce__(self) -> tuple[Any, ...]:
        if self._mapped is None:
            return PixelStore, (self.values,)
        return _opened_elsewhere, (self._mapped.file,)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(images, channels, height, width)``."""
        return self.values.shape

    @property
    def chunk(self) -> int:
        """Images to take at once where all are looked at."""
        return max(1, CHUNK_VALUES // math.prod(self.shape[1:]))

    def __getitem__(self, chosen: slice | Positions | Sequence[int]) -> NDArray[np.float32]:
        """Some images, float32 from 0 to 1."""
        taken: NDArray[np.float32] = self.values[chosen].astype(np.float32)
        taken /= np.float32(255)
        return taken

    @property
    def on_disk(self) -> bool:
        """Whether what is taken is read from a file."""
        return self._mapped is not None

    def expect(self, positions: Positions) -> None:
        """Have the system read images from the disk while the process does something else."""
        if self._mapped is not None:
            self._mapped.expect(positions, math.prod(self.shape[1:]))


@final
@dataclass(frozen=True, slots=True)
class Mapped:
    """A file that is mapped into memory, and where in it the first image begins."""

    file: Path
    memory: mmap.mmap
    begin: int

    def expect(self, positions: Positions, length: int) -> None:
        """Say that images of so many bytes will be read."""
        if not _ADVISED:
            return
        for position in positions.tolist():
            begin = self.begin + position * length
            page = begin - begin % mmap.PAGESIZE
            self.memory.madvise(mmap.MADV_WILLNEED, page, begin + length - page)


def open_store(file: Path) -> PixelStore:
    """The images of a file that ``kept`` made, read when they are taken.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged.
    """
    with file.open("rb") as opened:
        if np.lib.format.read_magic(opened) != (1, 0):
            raise ValueError(f"{file}: is no file of pixels")
        shape, _, dtype = np.lib.format.read_array_header_1_0(opened)
        begin, length = opened.tell(), os.fstat(opened.fileno()).st_size
        if dtype != np.uint8 or len(shape) != 4 or length != begin + math.prod(shape):
            raise ValueError(f"{file}: is damaged")
        # Not a private copy: the system refuses one that is larger than its memory.
        memory = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    values = np.frombuffer(memory, np.uint8, offset=begin).reshape(shape)
    return PixelStore(values, Mapped(file, memory, begin))


def _opened_elsewhere(file: Path) -> PixelStore:
    """The images of a file that another process has named."""
    try:
        return open_store(file)
    except (OSError, ValueError) as error:
        raise OSError(
            f"images cannot be read: {error}; every machine must reach the folder of XDG_CACHE_HOME"
        ) from error


def kept(
    shape: tuple[int, int, int, int],
    images: Iterable[NDArray[np.float32]],
    *,
    name: str | None = None,
) -> PixelStore:
    """Images rounded to 8 bits, in a file of the user's cache.

    Args:
        shape: ``(images, channels, height, width)``.
        images: Each ``(channels, height, width)`` from 0 to 1.
        name: What the same images always have; where there is such a file, they are not read.
            None for a name by what is read.

    Raises:
        ValueError: If the disk has no room for it, or it cannot be written or read.
    """
    folder = _folder()
    if name is not None:
        with suppress(OSError, ValueError):  # not there yet, or damaged
            return open_store(folder / f"{name}.npy")
    check_room(shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        file = _written(folder, shape, images, name)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        return open_store(file)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror or error}") from error


def _written(
    folder: Path,
    shape: tuple[int, int, int, int],
    images: Iterable[NDArray[np.float32]],
    name: str | None,
) -> Path:
    """A NumPy file that is in its place once all images are in it.

    They are written and not put into a mapping, where a full disk would end the process.
    """
    state = blake2b(str(shape).encode(), digest_size=16)
    number, text = tempfile.mkstemp(prefix=".", suffix=PART, dir=folder)
    part = Path(text)
    try:
        with open(number, "wb") as opened:  # noqa: PTH123 - a file that is open already
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(opened, header)
            for image in images:
                values = np.rint(image * np.float32(255)).astype(np.uint8).tobytes()
                state.update(values)
                opened.write(values)
            opened.flush()
            os.fsync(opened.fileno())
        file = folder / f"{name or state.hexdigest()}.npy"
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return file


def _tidy(folder: Path) -> None:
    """Remove what processes that were killed have left."""
    for path in folder.glob(f".*{PART}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def check_room(shape: tuple[int, ...]) -> None:
    """Refuse images of 8 bits that the disk of the cache has no room for.

    Args:
        shape: ``(images, channels, height, width)``.

    Raises:
        ValueError: If they are.
    """
    folder, needed = _folder(), math.prod(shape)
    there = next(path for path in (folder, *folder.parents) if is_there(path))
    free = shutil.disk_usage(there).free
    if needed > free:
        raise ValueError(
            f"{folder}: must have room for {needed / 2**30:.3g} GiB of pixels, has "
            f"{free / 2**30:.3g} GiB; choose a smaller --image-size, or another disk with "
            "XDG_CACHE_HOME"
        )


def _folder() -> Path:
    return cache() / "pixels"
