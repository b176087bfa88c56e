"""Where a run computes: names of devices, and what there is."""

import torch

from nas.errors import NasError, usage_error
from nas.plugins import unknown

DEVICES = ("auto", "cpu", "cuda", "mps")


def check_device(device: str) -> None:
    """Refuse what is no name of a device.

    Raises:
        NasError: If it is none (exit code 2).
    """
    if device not in DEVICES:
        raise usage_error(f"--device: {unknown(device, DEVICES)}")


def resolve_device(device: str) -> str:
    """The torch device that ``auto``, ``cpu``, ``cuda`` or ``mps`` stands for.

    Raises:
        NasError: If the name is another (exit code 2) or there is no such device (5).
    """
    check_device(device)
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, there in available.items() if there)
    if not available[device]:
        have = ", ".join(name for name, there in available.items() if there)
        raise NasError(f"--device: {device} is not available here; have {have}", exit_code=5)
    return device


def device_here(device: str) -> str:
    """Where this process computes for a run: on the run's device, if there is one here."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        return "cpu"  # the workers have it
    return device
