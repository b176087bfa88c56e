"""Depthwise convolutions whose gradients take a fraction of the time on a CPU."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from search_spaces.primitives import Conv2d

STRIP = 3  # columns of a kernel whose gradient torch computes fast


def is_depthwise(spec: Conv2d, in_channels: int) -> bool:
    """Whether each channel has a filter of its own, and no more."""
    return spec.groups == spec.out_channels == in_channels > 1


def numbers_of(spec: Conv2d) -> dict[str, Any]:
    """All of a convolution but its channels and kernel, by the names that torch has for it."""
    return {
        "stride": int(spec.stride),
        "padding": int(spec.padding),
        "dilation": int(spec.dilation),
        "groups": int(spec.groups),
    }


@final
class DepthwiseConv2d(nn.Conv2d):
    """A convolution with one filter for each channel; see ``depthwise_conv2d``."""

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps for feature maps, ``(batch, channels, height, width)``."""
        return depthwise_conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride[0],
            padding=int(self.padding[0]),
            dilation=self.dilation[0],
            groups=self.groups,
        )


def depthwise_conv2d(  # noqa: PLR0913 - a convolution has that many parts
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
) -> Tensor:
    """What ``torch.nn.functional.conv2d`` computes of as many groups as channels, bit for bit.

    Gradients are the same up to rounding. On a CPU torch takes long for some of them, which are
    computed in other ways here:

    - The gradient of a kernel of more than ``STRIP`` columns comes in strips of that many. At 28x28
      pixels that of 96 kernels of 5x5 took a quarter of the time, at 14x14 that of 240 of 7x7 less
      than a third (oneDNN on a CPU with AVX-512).
    - Under autocast to bfloat16 gradients of such kernels, and those with a stride, are computed in
      float32: with 192 channels at 28x28 pixels and a stride of 2 in a twelfth of the time.

    They have no gradients of their own (``create_graph``).

    Args:
        x: ``(batch, channels, height, width)``.
        weight: ``(channels, 1, kernel, kernel)``.
        bias: ``(channels,)``, or None.
        stride: Of rows and columns.
        padding: Rows and columns of zeros on each side.
        dilation: Steps from one weight to the next.
        groups: As many as channels.
    """
    half = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if half else torch.float32
    slow = weight.shape[3] > STRIP or (half and stride > 1)
    usual = x.dtype in (dtype, torch.float32) and weight.dtype == torch.float32
    if x.device.type != "cpu" or not torch.is_grad_enabled() or not (slow and usual):
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
    y: Tensor = _Depthwise.apply(x.to(dtype), weight, bias, stride, padding, dilation)
    return y


class _Depthwise(torch.autograd.Function):
    """The convolution in the precision of its input, its gradients in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *numbers: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        stride, padding, dilation = ctx.numbers = numbers
        filters, cast = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
        return functional.conv2d(x, filters, cast, stride, padding, dilation, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        layout = torch.channels_last
        if not x.is_contiguous(memory_format=layout):
            layout = torch.contiguous_format
        full, gradient = x.float(), gradient.to(torch.float32, memory_format=layout)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _gradient(gradient, full, weight, *ctx.numbers, of_x=True).to(x.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(gradient, full, weight, *ctx.numbers)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None, None, None


def _of_weight(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """The gradient of the weights, a strip of columns after the other."""
    kernel = weight.shape[3]
    if kernel <= STRIP:
        return _gradient(gradient, x, weight, stride, padding, dilation, of_x=False)
    x = functional.pad(x, (padding,) * 4)
    height, width = ((side - 1) * stride + 1 for side in gradient.shape[2:])
    height += (kernel - 1) * dilation
    strips = []
    for first in range(0, kernel, STRIP):
        columns = weight[..., first : first + STRIP]
        left = first * dilation
        seen = x[..., :height, left : left + width + (columns.shape[3] - 1) * dilation]
        strips.append(_gradient(gradient, seen, columns, stride, 0, dilation, of_x=False))
    return torch.cat(strips, dim=3)


def _gradient(  # noqa: PLR0913 - a convolution has that many parts
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    dilation: int,
    *,
    of_x: bool,
) -> Tensor:
    """The gradient of the input, or of the weights, in float32."""
    found = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        [stride] * 2,
        [padding] * 2,
        [dilation] * 2,
        transposed=False,
        output_padding=[0, 0],
        groups=len(weight),
        output_mask=[of_x, not of_x, False],
    )
    one: Tensor = found[0 if of_x else 1]
    return one
