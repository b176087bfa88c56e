"""From a network and images to metrics."""

import torch
from torch import Tensor, nn

from estimators.data import Split
from estimators.inference import for_inference
from estimators.lazy_images import batches
from estimators.resizing import resized
from estimators.task import Task
from search_spaces.graph import Graph

LARGEST_BATCH, SMALLEST_BATCH = 512, 8  # images
# Of the largest feature map of a batch on a CPU. From 4 to 8 MiB children of 8x8, 28x28 and 64x64
# pixels are within a third of their best: below 2 MiB calls cost more than what they compute, from
# 32 MiB on, where memory is not kept (``allocator.py``), each map comes from the system and goes
# back to it, at up to three times the time.
MAP_BYTES = 6 * 2**20


def measure(
    model: nn.Module, split: Split, task: Task, *, graph: Graph, device: str
) -> dict[str, float]:
    """Metrics of a network on one split, in eval mode.

    Args:
        model: The network, on ``device``; left in eval mode, and otherwise as it is.
        split: Images and labels.
        task: Whose metrics.
        graph: What ``model`` was built from; images are resized to what it reads.
        device: A torch device.

    Raises:
        torch.OutOfMemoryError: See ``outputs_of``.
    """
    return task.measure(scored(model, split, graph=graph, device=device), split.labels)


@torch.inference_mode()
def scored(model: nn.Module, split: Split, *, graph: Graph, device: str) -> Tensor:
    """What a network returns for every image of a split, ``(images, ...)`` on the CPU.

    They come from the network's form for inference. Arguments as for ``measure``; errors as for
    ``outputs_of``.
    """
    network = for_inference(model.eval(), graph, device=device)
    return outputs_of(network, split, graph=graph, device=device)


@torch.inference_mode()
def outputs_of(network: nn.Module, split: Split, *, graph: Graph, device: str) -> Tensor:
    """The same of a network as it is, in eval mode, in whatever form it runs.

    Where the device has no room for a batch, all begins again with half of it.

    Raises:
        torch.OutOfMemoryError: If there is no room for ``SMALLEST_BATCH`` images either.
    """
    batch = min(_batch(graph, device), max(1, len(split)))
    while True:
        try:
            return _in_batches(network, split, batch=batch, graph=graph, device=device)
        except torch.OutOfMemoryError:
            if batch <= SMALLEST_BATCH:
                raise
        batch = max(SMALLEST_BATCH, batch // 2)  # outside: the error holds what did not fit


def _in_batches(
    network: nn.Module, split: Split, *, batch: int, graph: Graph, device: str
) -> Tensor:
    size = tuple(int(side) for side in graph.input_shape[1:])
    outputs = []
    for part in batches(split.images, batch):
        images = part.to(device, memory_format=torch.channels_last)
        outputs.append(network(resized(images, size)).float().cpu())
    return torch.cat(outputs)


def _batch(graph: Graph, device: str) -> int:
    """Images to score at once."""
    if device != "cpu":
        return LARGEST_BATCH
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, MAP_BYTES // graph.largest_map_bytes))


def average_statistics(model: nn.Module) -> None:
    """From here on batch norms keep the plain mean of their statistics over all steps.

    The usual moving average would still remember its start after a short training: at 19 steps
    the share is 0.9**19, or 14 %, which leaves a well trained child at chance level.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None


def keep_statistics(model: nn.Module) -> None:
    """From here on batch norms use the statistics they have, also while training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
