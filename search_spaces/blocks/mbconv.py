"""The mobile inverted bottleneck."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.blocks.squeeze_excite import check_squeeze, squeeze_excite
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Add


@final
@dataclass(frozen=True, slots=True)
class MBConv(BlockSpec):
    """Mobile inverted bottleneck: narrow at both ends, wide and depthwise inside.

    An expanding 1x1 convolution, a depthwise one, squeeze-excite, a projecting 1x1 convolution.
    The input is added to the output where stride is 1 and the widths agree.

    Attributes:
        width: Output channels.
        kernel_size: Side of the depthwise kernel.
        stride: Step of the depthwise convolution.
        expansion: Channels of the depthwise convolution as a multiple of the input's; 1 leaves
            the expanding convolution out.
        squeeze_ratio: Squeezed channels of squeeze-excite as a share of the block's *input*
            channels (at least one channel); 0 leaves squeeze-excite out.
        activation: A key of ``primitives.ACTIVATIONS``; the projection has none.

    Source: MobileNetV2 (arXiv:1801.04381), table 1; with squeeze-excite as in MnasNet
    (arXiv:1807.11626) and the released EfficientNet, whose ratio refers to the input.
    """

    variants: ClassVar[Mapping[str, str]] = {
        "ResidualMBConv": "Mobile inverted bottleneck that is added to its input.",
        "SeparableConv": "Depthwise separable convolution.",
        "ResidualSeparableConv": "Depthwise separable convolution that is added to its input.",
    }

    width: int
    kernel_size: int = 3
    stride: int = 1
    expansion: int = 6
    squeeze_ratio: float = 0.25
    activation: str = "silu"

    def __post_init__(self) -> None:
        if self.expansion < 1:
            raise ValueError(f"expansion must be at least 1, got {self.expansion}")
        check_squeeze(self.squeeze_ratio)

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = y = inputs[-1]
        residual = self.stride == 1 and self.width == x.channels
        if self.expansion > 1:
            inner = scope.argument("inner", self.expansion * x.channels)
            y = scope.activation(
                "expand_act",
                scope.norm("expand_norm", scope.conv("expand_conv", y, inner)),
                self.activation,
            )
        else:
            inner = x.channels
            scope.title("ResidualSeparableConv" if residual else "SeparableConv")
        width = x.channels if residual else scope.argument("out_channels", self.width)
        kernel = scope.argument("kernel", self.kernel_size)
        stride = 1 if residual else scope.argument("stride", self.stride)
        y = scope.conv("depthwise_conv", y, inner, kernel, stride=stride, groups=inner)
        y = scope.activation("depthwise_act", scope.norm("depthwise_norm", y), self.activation)
        if self.squeeze_ratio > 0:
            y = squeeze_excite(
                scope, y, ratio=self.squeeze_ratio, of=x.channels, activation=self.activation
            )
        y = scope.norm("project_norm", scope.conv("project_conv", y, width))
        if not residual:
            return y
        if self.expansion > 1:
            scope.title("ResidualMBConv")
        return scope.add("residual", Add(), x, y)
