"""A convolution, usually with batch norm, and an activation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Conv2d


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
        norm: Whether there is batch norm.
        bias: Whether the convolution has a bias, which batch norm makes idle.
        norm_eps: What batch norm adds to the variance.
        padding: Pixels of zeros on each side instead of 'same' padding; None for that.
        tight: Whether 'same' padding with a stride is TensorFlow's; see ``ScopeBuilder.conv``.
    """

    variants: ClassVar[Mapping[str, str]] = {
        "ConvAct": "Convolution, activation.",
        "DilatedConvNormAct": "Dilated convolution, batch norm, activation.",
        "DilatedConvAct": "Dilated convolution, activation.",
    }

    width: int
    kernel_size: int = 3
    stride: int = 1
    activation: str = "relu"
    dilation: int = 1
    norm: bool = True
    bias: bool = False
    norm_eps: float = 1e-5
    padding: int | None = None
    tight: bool = False

    def __post_init__(self) -> None:
        if self.tight and self.padding is not None:
            raise ValueError(f"tight must be False where padding is given, got {self.padding}")

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        prefix = "Dilated" if self.dilation > 1 else ""
        scope.title(f"{prefix}{'ConvNormAct' if self.norm else 'ConvAct'}")
        x = self._conv(scope, inputs[-1])
        if self.norm:
            x = scope.norm("norm", x, eps=self.norm_eps)
        return scope.activation("act", x, self.activation)

    def _conv(self, scope: ScopeBuilder, x: Value) -> Value:
        width = scope.argument("out_channels", self.width)
        kernel = scope.argument("kernel", self.kernel_size)
        stride = scope.argument("stride", self.stride)
        dilation = scope.argument("dilation", self.dilation) if self.dilation > 1 else 1
        if self.padding is None:
            return scope.conv(
                *("conv", x, width, kernel),
                stride=stride,
                dilation=dilation,
                bias=self.bias,
                tight=self.tight,
            )
        padding = scope.argument("padding", self.padding)
        conv = Conv2d(width, kernel, stride, padding, dilation, bias=self.bias)
        return scope.add("conv", conv, x)
