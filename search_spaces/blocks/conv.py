"""A convolution with batch norm and activation."""

from dataclasses import dataclass
from typing import final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value


@final
@dataclass(frozen=True, slots=True)
class ConvNormAct(BlockSpec):
    """Convolution, batch norm, activation.

    Attributes:
        width: Output channels.
        kernel_size: Side of the square kernel; the map keeps its size ('same' padding).
        stride: Step of the convolution; sides become ``ceil(length / stride)``.
        activation: A key of ``primitives.ACTIVATIONS``.
    """

    width: int
    kernel_size: int = 3
    stride: int = 1
    activation: str = "relu"

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        out_channels = scope.argument("out_channels", self.width)
        kernel = scope.argument("kernel", self.kernel_size)
        stride = scope.argument("stride", self.stride)
        x = scope.conv("conv", inputs[-1], out_channels, kernel, stride=stride)
        return scope.activation("act", scope.norm("norm", x), self.activation)
