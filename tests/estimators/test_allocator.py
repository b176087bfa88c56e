"""Memory that tensors leave is used again, and given back in the end."""

import ctypes
import resource
from pathlib import Path

import pytest
import torch

from estimators.allocator import memory_kept

VALUES = 2**24  # of a tensor of 64 MiB, which glibc would map anew each time
ROUNDS = 20
PAGES = 4 * VALUES // resource.getpagesize()

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc"
)


def faults() -> int:
    """Pages that this process was handed so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident() -> int:
    """Pages that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def use() -> None:
    """Write to a large tensor that is gone afterwards."""
    torch.ones(VALUES)


def test_what_is_freed_inside_is_used_again() -> None:
    with memory_kept():
        use()
        before = faults()
        for _ in range(ROUNDS):
            use()
        assert faults() - before < ROUNDS / 2 * PAGES  # at first it may lie elsewhere again


def test_in_the_end_of_the_outermost_all_of_it_goes_back() -> None:
    with memory_kept():
        with memory_kept():
            use()
        held = resident()
        assert held > PAGES
    assert held - resident() > PAGES / 2


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(RuntimeError), memory_kept():
        torch.ones(VALUES).view(3)
    before = faults()
    for _ in range(ROUNDS):
        use()
    assert faults() - before > ROUNDS / 2 * PAGES
