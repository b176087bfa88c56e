"""Where files of the user's lie that can be made again."""

import os
from pathlib import Path


def cache() -> Path:
    """The folder, which may not exist: of ``XDG_CACHE_HOME``, if that is an absolute path."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(named):  # noqa: PTH117 - as the specification of it says
        named = os.path.expanduser("~/.cache")  # noqa: PTH111 - raises nothing without a home
    return Path(named) / "nas-engine"
