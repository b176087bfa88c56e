"""What ``--data`` names: a built-in data set, a path, or in Python arrays."""

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas import plugins
from nas.errors import usage_error
from nas.run_folder import DataOptions

Arrays = tuple[NDArray[np.generic], NDArray[np.generic]]
Data = str | Path | Arrays

_SIZE = re.compile(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?")


def options(image_size: str | None, group: str | None) -> DataOptions:
    """Options of the data from what a user wrote.

    Args:
        image_size: ``HxW``, or ``N`` for squares.
        group: Column of a CSV file.

    Raises:
        NasError: If the size is no such text (exit code 2).
    """
    if image_size is None:
        return DataOptions(group=group)
    found = _SIZE.fullmatch(str(image_size).lower())
    if found is None:
        raise usage_error(f"--image-size must be HEIGHTxWIDTH or N, got {str(image_size)[:40]!r}")
    height, width = found[1], found[1] if found[2] is None else found[2]
    return DataOptions(image_size=(int(height), int(width)), group=group)


def is_path(data: object) -> bool:
    """Whether data are named by a path: what is no name, and is there or has a separator."""
    if isinstance(data, Path):
        return True
    if not isinstance(data, str) or data in plugins.names("datasets"):
        return False
    return os.sep in data or os.path.exists(data)  # noqa: PTH110 - False for any odd name


def recorded(data: Data) -> str:
    """What ``run.json`` calls the data: a name, an absolute path, or ``arrays``.

    Raises:
        NasError: If it is a path that cannot be written down (exit code 2).
    """
    if is_path(data):
        path = str(Path(str(data)).absolute())
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise usage_error(f"--data: path must be UTF-8, got {path!r:.200}") from error
        return path
    return data if isinstance(data, str) else "arrays"
