"""Latency of one image on one device, measured."""

import math
import statistics
import time

import torch
from torch import nn

from nas.errors import NasError
from search_spaces.graph import Graph
from search_spaces.modules import build

WARM_UP = 5
RUNS = 30


def network_latency_ms(graph: Graph, *, device: str, most: float = math.inf) -> float:
    """Milliseconds of a network with any weights for one image; see ``latency_ms``.

    Infinite where the device lacks an operation, or has no room for the network, tried twice.

    Raises:
        NasError: If it fails otherwise (exit code 5).
    """
    model = build(graph)
    for _ in range(2):
        try:
            return latency_ms(model, graph.input_shape, device=device, most=most)
        except NotImplementedError:
            break
        except RuntimeError as error:
            told = str(error).partition("\n")[0]
            if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in told:
                text = f"latency cannot be measured on {device}: {told}"
                raise NasError(text, exit_code=5) from error
            if device.startswith("cuda"):
                torch.cuda.empty_cache()
    return math.inf


def latency_ms(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    device: str,
    most: float = math.inf,
) -> float:
    """Median milliseconds of a forward pass for one image.

    Args:
        model: The network; put on ``device`` and into eval mode.
        input_shape: ``(channels, height, width)``.
        device: A torch device; the CPU computes with one thread.
        most: Milliseconds above which it is not wanted exactly.

    Returns:
        The median of 30 passes after 5 for warming up, the device synchronised around each; the
        least of the latter where even that is above twice ``most``.
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
                if len(times) == WARM_UP and 1000 * min(times) > 2 * most:
                    return 1000 * min(times)
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(times[WARM_UP:])
