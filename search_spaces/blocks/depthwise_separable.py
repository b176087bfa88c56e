"""The depthwise separable convolution."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.blocks.squeeze_excite import check_squeeze, squeeze_excite
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value


@final
@dataclass(frozen=True, slots=True)
class DepthwiseSeparable(BlockSpec):
    """Depthwise convolution, then a 1x1 one; batch norm and activation after each.

    For a kernel of side K, M input and N output channels and an output map of D x D pixels it
    takes K^2 M D^2 + M N D^2 multiply-accumulates.

    Attributes:
        width: Output channels.
        kernel_size: Side of the depthwise kernel.
        stride: Step of the depthwise convolution; sides become ``ceil(length / stride)``.
        dilation: Distance in pixels between the points of the depthwise kernel.
        squeeze_ratio: Squeezed channels of squeeze-excite, which stands between the two
            convolutions, as a share of the input channels; 0 leaves it out.
        activation: A key of ``primitives.ACTIVATIONS``.

    Source: MobileNet (arXiv:1704.04861), equation (5) and figure 3.
    """

    family: ClassVar[str] = "depthwise_separable"
    variants: ClassVar[Mapping[str, str]] = {
        "DilatedSeparable": "Dilated depthwise convolution, then a 1x1 one.",
    }

    width: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    squeeze_ratio: float = 0.0
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_squeeze(self.squeeze_ratio)

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = inputs[-1]
        channels = x.channels
        kernel = scope.argument("kernel", self.kernel_size)
        stride = scope.argument("stride", self.stride)
        dilation = 1
        if self.dilation > 1:
            scope.title("DilatedSeparable")
            dilation = scope.argument("dilation", self.dilation)
        x = scope.conv(
            *("depthwise_conv", x, channels, kernel),
            stride=stride,
            dilation=dilation,
            groups=channels,
        )
        x = scope.activation("depthwise_act", scope.norm("depthwise_norm", x), self.activation)
        if self.squeeze_ratio > 0:
            x = squeeze_excite(
                scope, x, ratio=self.squeeze_ratio, of=channels, activation=self.activation
            )
        x = scope.conv("pointwise_conv", x, scope.argument("out_channels", self.width))
        return scope.activation("pointwise_act", scope.norm("pointwise_norm", x), self.activation)
