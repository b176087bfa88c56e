"""What lies at a path. A path that cannot be looked at has nothing, where pathlib would raise."""

import os
from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether something is there, at the end of links."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Whether it is a file, or a link to one."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Whether it is a folder, or a link to one."""
    return os.path.isdir(path)  # noqa: PTH112


def is_link(path: Path) -> bool:
    """Whether it is a link, wherever it leads."""
    return os.path.islink(path)  # noqa: PTH114


def leads_nowhere(path: Path) -> bool:
    """Whether it is a link to nothing, or to what cannot be looked at."""
    return is_link(path) and not is_there(path)
