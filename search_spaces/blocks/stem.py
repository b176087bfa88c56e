"""The first convolution of a network, as ResNet and DenseNet have it."""

from dataclasses import dataclass
from typing import final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import MaxPool2d


@final
@dataclass(frozen=True, slots=True)
class Stem(BlockSpec):
    """Convolution, batch norm, activation, max pooling.

    The pool has windows of 3x3 pixels and a padding of 1: sides become ``ceil(length / 2)``.

    Attributes:
        width: Output channels.
        kernel_size: Side of the kernel.
        stride: Step of the convolution; sides become ``ceil(length / stride)``.
        norm: Whether there are batch norm and activation; blocks with pre-activation bring
            their own.
        pool: Whether there is a pool; networks for small images have none.
        activation: A key of ``primitives.ACTIVATIONS``.

    Source: ResNet (arXiv:1512.03385), table 1.
    """

    width: int = 64
    kernel_size: int = 7
    stride: int = 2
    norm: bool = True
    pool: bool = True
    activation: str = "relu"

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        width = scope.argument("out_channels", self.width)
        kernel = scope.argument("kernel", self.kernel_size)
        stride = scope.argument("stride", self.stride)
        x = scope.conv("conv", inputs[-1], width, kernel, stride=stride)
        if self.norm:
            x = scope.activation("act", scope.norm("norm", x), self.activation)
        return scope.add("pool", MaxPool2d(3, 2, 1), x) if self.pool else x
