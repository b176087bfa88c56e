"""Latency of one image on one device, measured."""

import statistics
import time

import torch
from torch import nn

WARM_UP = 5
RUNS = 30


def latency_ms(model: nn.Module, input_shape: tuple[int, ...], *, device: str) -> float:
    """Median milliseconds of a forward pass for one image.

    Args:
        model: The network; put on ``device`` and into eval mode.
        input_shape: ``(channels, height, width)``.
        device: A torch device; the CPU computes with one thread.

    Returns:
        The median of 30 passes after 5 for warming up, the device synchronised around each.
    """
    threads = torch.get_num_threads()
    model.to(device).eval()
    image = torch.zeros((1, *input_shape), device=device)
    times = []
    try:
        if device == "cpu":
            torch.set_num_threads(1)
        with torch.inference_mode():
            for _ in range(WARM_UP + RUNS):
                begin = time.perf_counter()
                model(image)
                if device.startswith("cuda"):
                    torch.cuda.synchronize(device)
                elif device == "mps":
                    torch.mps.synchronize()
                times.append(time.perf_counter() - begin)
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(times[WARM_UP:])
