"""The mean of all pixels, with a gradient that keeps the layout of its feature maps."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


@final
class GlobalPool(nn.Module):
    """The mean of all pixels; see ``mean_of_pixels``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, 1, 1)`` of ``(batch, channels, height, width)``."""
        return mean_of_pixels(x)


def mean_of_pixels(x: Tensor) -> Tensor:
    """What ``torch.nn.AdaptiveAvgPool2d(1)`` computes, bit for bit; so are its gradients.

    On a CPU torch writes these in the plain layout, which for feature maps in channels-last took
    2.7 to 6 times as long as in theirs (96 to 288 channels, 11x11 to 28x28 pixels, AVX2, beside
    other work), and others that they are added to follow them. They have no gradients of their own
    (``create_graph``).

    Args:
        x: ``(batch, channels, height, width)``.

    Returns:
        ``(batch, channels, 1, 1)``.
    """
    if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
        return functional.adaptive_avg_pool2d(x, 1)
    y: Tensor = _Mean.apply(x)
    return y


class _Mean(torch.autograd.Function):
    """The mean of pixels in channels-last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return functional.adaptive_avg_pool2d(x, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        each: Tensor = gradient / (ctx.shape[2] * ctx.shape[3])
        return each.expand(ctx.shape).contiguous(memory_format=torch.channels_last)
