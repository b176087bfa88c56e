"""One result for one seed, whatever was drawn before and however many cores there are."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

from estimators.allocator import memory_kept


@contextmanager
def alone(
    device: str, *, seed: int | None = None, threads: int = 1, keep_memory: bool = True
) -> Iterator[None]:
    """With torch's generators put back in the end, and on a CPU so many threads.

    Args:
        device: A torch device such as ``cpu`` or ``cuda:0``.
        seed: What to seed the generators with at first, from 0 to 2**64 - 1; None leaves that to
            what runs inside.
        threads: What computes on a CPU, at least 1, whatever there are.
        keep_memory: Whether on a CPU memory is kept for the next tensors (``memory_kept``); it does
            not pay where all takes less than a second.
    """
    before = torch.get_num_threads()
    devices = [torch.device(device)] if device.startswith("cuda") else []
    keeping = memory_kept() if keep_memory and device == "cpu" else nullcontext()
    with keeping, torch.random.fork_rng(devices=devices):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            if device == "cpu":
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(before)


def seed_of(*parts: int) -> int:
    """A seed of 64 bits for one purpose, named by numbers from 0 on.

    Names of one seed should be as long as each other: zeros at the end do not count.
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def cpus() -> int:
    """How many CPUs this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
