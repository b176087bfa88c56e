"""Memory that tensors leave is kept for those that follow, instead of going back to the system."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_FOR_EVER, _NEVER = -1, 0
# Where glibc itself arrives at in a process that has freed large blocks.
_USUAL = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}

# Whoever sets one of these knows better.
_SETTINGS = (
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)

_lock = threading.Lock()
_held = 0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Without large blocks of memory that the system hands out anew, filled with zeros, each time.

    By default glibc maps each block of 32 MiB or more anew, and unmaps it when it is freed. Feature
    maps of a batch are that large, and the system's zeros can take as long as what is computed: of
    two ``mbconv`` children (22 and 43 million MACs, 64 images of 28x28 pixels) a step was 1.3 and
    1.9 times as long. Inside, what is freed stays with the process. In the end, of the outermost
    where they are nested, what is free then goes back to the system; what lives on keeps its place
    until the next end.

    Of threads but the main one it serves blocks below 64 MiB: their heaps hold none so large.
    Nothing happens where the C library is not glibc, or its options are set in the environment.
    """
    library = _library()
    if library is None:
        yield
        return
    _hold(library, 1)
    try:
        yield
    finally:
        _hold(library, -1)


def _hold(library: ctypes.CDLL, more: int) -> None:
    """Count who keeps memory; set the options for the first, and back after the last."""
    global _held
    with _lock:
        before, _held = _held, _held + more
        if before == 0:
            library.mallopt(_MMAP_MAX, _NEVER)
            library.mallopt(_TRIM_THRESHOLD, _FOR_EVER)
        elif _held == 0:
            for parameter, value in _USUAL.items():
                library.mallopt(parameter, value)
            library.malloc_trim(0)


@cache
def _library() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc, with options as they come."""
    if any(name in os.environ for name in _SETTINGS):
        return None
    try:
        library = ctypes.CDLL(None)
    except TypeError:  # Windows
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
