"""From a network and images to metrics."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from estimators.data import Split
from estimators.task import Task

SCORING_BATCH = 512


def measure(
    model: nn.Module, split: Split, task: Task, *, size: tuple[int, ...], device: str
) -> dict[str, float]:
    """Metrics of a network on one split, in eval mode.

    Args:
        model: The network, on ``device``; left in eval mode.
        split: Images and labels.
        task: Whose metrics.
        size: ``(height, width)`` that the network reads; images are resized.
        device: A torch device.
    """
    return task.measure(scored(model, split, size=size, device=device), split.labels)


@torch.inference_mode()
def scored(model: nn.Module, split: Split, *, size: tuple[int, ...], device: str) -> Tensor:
    """What a network returns for every image of a split, ``(images, ...)`` on the CPU.

    Arguments as for ``measure``.
    """
    model.eval()
    outputs = [
        model(resized(images.to(device), size)).float().cpu()
        for images in torch.split(split.images, SCORING_BATCH)
    ]
    return torch.cat(outputs)


def resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Images as ``(batch, channels, *size)``, bilinear with antialiasing."""
    if tuple(images.shape[2:]) == size:
        return images
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True)


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
