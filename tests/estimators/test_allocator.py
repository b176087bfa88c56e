"""Memory that tensors leave is used again, and given back in the end."""

import ctypes
import os
import platform
from pathlib import Path

import pytest
import torch

from estimators.allocator import memory_kept

MIB = 2**20
SIZE = 64  # MiB of a tensor, which glibc would map anew each time

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc"
    or any(name.startswith(("GLIBC_TUNABLES", "MALLOC_")) for name in os.environ),
    reason="the C library is not glibc, or has options of its own",
)


def resident() -> float:
    """MiB that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


@pytest.fixture(autouse=True)
def _trimmed() -> None:
    """No memory that earlier tests have left free, which would be used first."""
    ctypes.CDLL(None).malloc_trim(0)


def use() -> None:
    """Write to a large tensor that is gone afterwards."""
    torch.ones(SIZE * MIB // 4)


def test_what_is_freed_inside_stays_and_is_used_again() -> None:
    use()
    before = resident()
    with memory_kept():
        use()
        kept = resident() - before
        for _ in range(20):
            use()
        held = resident() - before
    assert kept > SIZE / 2
    assert held < 8 * SIZE  # it may lie elsewhere at first


def test_only_in_the_end_of_the_outermost_it_goes_back() -> None:
    use()
    before = resident()
    with memory_kept():
        with memory_kept():
            use()
        assert resident() - before > SIZE / 2
    assert resident() - before < SIZE / 2


def test_it_ends_with_an_error_too() -> None:
    use()
    before = resident()
    with pytest.raises(RuntimeError), memory_kept():
        torch.ones(SIZE * MIB // 4).view(3)
    use()
    assert resident() - before < SIZE / 2
