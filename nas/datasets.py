"""What ``--data`` names: a data set, a path, or in Python arrays or samples."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimators.samples import Samples
from nas import plugins
from nas.errors import usage_error
from nas.run_folder import DataOptions

Arrays = tuple[NDArray[np.generic], NDArray[np.generic]]
Data = str | Path | Arrays | Samples | Mapping[str, Samples]

_SIZE = re.compile(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?")


def options(
    image_size: str | None,
    group: str | None,
    data_dir: str | Path | None = None,
    *,
    download: bool = False,
) -> DataOptions:
    """Options of the data from what a user wrote.

    Args:
        image_size: ``HxW``, or ``N`` for squares.
        group: Column of a CSV file.
        data_dir: Folder of published files.
        download: Whether to fetch published files that are not there.

    Raises:
        NasError: If the size is no such text, or the folder has no such name (exit code 2).
    """
    folder = None if data_dir is None else _absolute("--data-dir", data_dir)
    size = None if image_size is None else _size(image_size)
    return DataOptions(image_size=size, group=group, data_dir=folder, download=download)


def _size(image_size: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(str(image_size).lower())
    if found is None:
        raise usage_error(f"--image-size must be HEIGHTxWIDTH or N, got {str(image_size)[:40]!r}")
    height, width = found[1], found[1] if found[2] is None else found[2]
    return int(height), int(width)


def _absolute(flag: str, path: str | Path) -> str:
    """A path as it is written down.

    Raises:
        NasError: If it cannot be (exit code 2).
    """
    absolute = str(Path(path).absolute())
    try:
        absolute.encode()
    except UnicodeEncodeError as error:
        raise usage_error(f"{flag}: path must be UTF-8, got {absolute!r:.200}") from error
    return absolute


def is_path(data: object) -> bool:
    """Whether data are named by a path: what is no name, and is there, or looks like one."""
    if isinstance(data, Path):
        return True
    if not isinstance(data, str) or data in plugins.names("datasets"):
        return False
    if os.sep in data or data.lower().endswith((".csv", ".npz")):
        return True
    return os.path.exists(data)  # noqa: PTH110 - False for any odd name


def is_arrays(data: object) -> bool:
    """Whether data are images and labels, each in one array."""
    return isinstance(data, tuple | list) and len(data) == 2


def recorded(data: Data) -> str:
    """What ``run.json`` calls the data: a name, an absolute path, ``arrays`` or ``samples``.

    Raises:
        NasError: If it is a path that cannot be written down (exit code 2).
    """
    if is_path(data):
        return _absolute("--data", str(data))
    if isinstance(data, str):
        return data
    return "arrays" if is_arrays(data) else "samples"
