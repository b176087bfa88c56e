"""A convolution, usually with batch norm, and an activation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

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
        dilation: Distance in pixels between the points of the kernel.
    """

    variants: ClassVar[Mapping[str, str]] = {
        "DilatedConvNormAct": "Dilated convolution, batch norm, activation."
    }

    width: int
    kernel_size: int = 3
    stride: int = 1
    activation: str = "relu"
    dilation: int = 1

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        out_channels = scope.argument("out_channels", self.width)
        kernel = scope.argument("kernel", self.kernel_size)
        stride = scope.argument("stride", self.stride)
        dilation = 1
        if self.dilation > 1:
            scope.title("DilatedConvNormAct")
            dilation = scope.argument("dilation", self.dilation)
        x = scope.conv("conv", inputs[-1], out_channels, kernel, stride=stride, dilation=dilation)
        return scope.activation("act", scope.norm("norm", x), self.activation)
