"""Memory that tensors leave is kept for those that follow, instead of going back to the system."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_FOR_EVER, _NEVER = -1, 0
# Where glibc itself arrives at in a process that has freed large blocks.
_USUAL = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}

_held = 0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Without large blocks of memory that the system hands out anew, filled with zeros, each time.

    By default glibc maps each block of 32 MiB or more anew and unmaps it when it is freed. A batch
    of feature maps is that large, and then the system's zeros take as long as the computation: a
    step of training was 1.0 to 2 times as long. Inside, what is freed stays with the process; in
    the end, of the outermost where they are nested, all of it goes back. Nothing happens where the
    C library is another one.
    """
    global _held  # noqa: PLW0603 - there is one heap
    library = _library()
    if library is None:
        yield
        return
    if _held == 0:
        library.mallopt(_MMAP_MAX, _NEVER)
        library.mallopt(_TRIM_THRESHOLD, _FOR_EVER)
    _held += 1
    try:
        yield
    finally:
        _held -= 1
        if _held == 0:
            for parameter, value in _USUAL.items():
                library.mallopt(parameter, value)
            library.malloc_trim(0)


@cache
def _library() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc or has the same functions."""
    try:
        library = ctypes.CDLL(None)
    except TypeError:  # Windows
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
