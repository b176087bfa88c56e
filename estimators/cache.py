"""Where files of the user's lie that can be made again."""

import os
from pathlib import Path


def cache() -> Path:
    """The folder; it may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))) / "nas-engine"  # noqa: PTH111 - raises nothing without a home
