"""How much fits into the memory of this machine."""

import os
from pathlib import Path

SHARE = 0.5  # of the free memory that images may take in the process that reads them
BYTES = 8  # for each value of a pixel: float32, and once more while splits are made

_MEMINFO = Path("/proc/meminfo")
_LIMIT = Path("/sys/fs/cgroup")  # of a container


def check_fits(count: int, channels: int, height: int, width: int) -> None:
    """Refuse images that do not fit into ``SHARE`` of the free memory.

    Args:
        count: Number of images.
        channels: Of each.
        height: In pixels, as they are kept.
        width: Likewise.

    Raises:
        ValueError: If they do not.
    """
    check_bytes(
        count * channels * height * width * BYTES, f"{count:,} of {channels}x{height}x{width}"
    )


def check_bytes(needed: int, what: str) -> None:
    """Refuse images that need so many bytes, unless they fit into ``SHARE`` of the free memory.

    Args:
        needed: While they are read.
        what: What needs them, for the eye.

    Raises:
        ValueError: If they do not.
    """
    free = free_memory()
    if free is not None and needed > SHARE * free:
        raise ValueError(
            f"images must fit into {SHARE:.0%} of the free memory, {SHARE * free / 2**30:.3g} GiB, "
            f"got {what} that need {needed / 2**30:.3g} GiB; "
            "choose a smaller --image-size or fewer images"
        )


def free_memory() -> int | None:
    """Bytes that can be had without swapping, in the container if there is one; None if unknown."""
    found = [value for value in (_of_machine(), _of_container()) if value is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _of_container() -> int | None:
    """What its limit leaves (control groups of version 2)."""
    try:
        limit, used = ((_LIMIT / name).read_text() for name in ("memory.max", "memory.current"))
        return max(0, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or one without a limit
        return None
