"""The mobile inverted bottleneck, and its fused variant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.blocks.squeeze_excite import INPUT, check_squeeze, squeeze_excite
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Add


@final
@dataclass(frozen=True, slots=True)
class MBConv(BlockSpec):
    """Mobile inverted bottleneck: narrow at both ends, wide and depthwise inside.

    An expanding 1x1 convolution, a depthwise one, squeeze-excite, a projecting 1x1 convolution.
    Fused, a single full convolution expands and looks around; without expansion it is the whole
    block. The input is added to the output where stride is 1 and the widths agree.

    Without squeeze-excite and with ReLU6 this is the inverted residual of MobileNetV2.

    Attributes:
        width: Output channels.
        kernel_size: Side of the depthwise (or full) kernel.
        stride: Step of the depthwise (or full) convolution.
        expansion: Channels inside as a multiple of the input's; 1 leaves the expanding
            convolution out.
        squeeze_ratio: Squeezed channels of squeeze-excite as a share of others (at least one
            channel); 0 leaves it out.
        activation: A key of ``primitives.ACTIVATIONS``; the projection has none, squeeze-excite
            has it, too.
        squeeze_of: Those others: ``input``, the block's, or ``scaled``, the channels inside.
        fused: Whether one full convolution stands for the expanding and the depthwise one.
        norm_eps: What batch norms add to the variance.
        tight: Whether a kernel with a stride pads as TensorFlow does; see ``ScopeBuilder.conv``.

    Source: MobileNetV2 (arXiv:1801.04381), table 1; with squeeze-excite as in MnasNet
    (arXiv:1807.11626) and the released EfficientNet, whose ratio refers to the input; fused:
    EfficientNetV2 (arXiv:2104.00298), figure 2.
    """

    family: ClassVar[str] = "mbconv"
    variants: ClassVar[Mapping[str, str]] = {
        "ResidualMBConv": "Mobile inverted bottleneck that is added to its input.",
        "SeparableConv": "Depthwise separable convolution.",
        "ResidualSeparableConv": "Depthwise separable convolution that is added to its input.",
        "FusedMBConv": "Inverted bottleneck with a full convolution in place of two.",
        "ResidualFusedMBConv": "Fused inverted bottleneck that is added to its input.",
        "FusedConv": "Convolution, batch norm, activation.",
        "ResidualFusedConv": "Convolution, batch norm, activation; added to its input.",
    }

    width: int
    kernel_size: int = 3
    stride: int = 1
    expansion: int = 6
    squeeze_ratio: float = 0.25
    activation: str = "silu"
    squeeze_of: str = INPUT
    fused: bool = False
    norm_eps: float = 1e-5
    tight: bool = False

    def __post_init__(self) -> None:
        if self.expansion < 1:
            raise ValueError(f"expansion must be at least 1, got {self.expansion}")
        check_squeeze(self.squeeze_ratio, self.squeeze_of)

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = inputs[-1]
        residual = self.stride == 1 and self.width == x.channels
        scope.title(f"{'Residual' if residual else ''}{self._kind}")
        inner = x.channels
        if self.expansion > 1:
            inner = scope.argument("inner", self.expansion * x.channels)
        width = x.channels if residual else scope.argument("out_channels", self.width)
        kernel = scope.argument("kernel", self.kernel_size)
        stride = 1 if residual else scope.argument("stride", self.stride)
        if self.fused:
            out_channels = inner if self.expansion > 1 else width
            y = scope.conv("fused_conv", x, out_channels, kernel, stride=stride, tight=self.tight)
            y = self._norm_act(scope, "fused", y)
        else:
            y = x
            if self.expansion > 1:
                y = self._norm_act(scope, "expand", scope.conv("expand_conv", y, inner))
            y = scope.conv(
                *("depthwise_conv", y, inner, kernel),
                stride=stride,
                groups=inner,
                tight=self.tight,
            )
            y = self._norm_act(scope, "depthwise", y)
        if self.squeeze_ratio > 0:
            of = x.channels if self.squeeze_of == INPUT else y.channels
            y = squeeze_excite(
                scope, y, ratio=self.squeeze_ratio, of=of, activation=self.activation
            )
        if self.expansion > 1 or not self.fused:
            y = scope.norm("project_norm", scope.conv("project_conv", y, width), eps=self.norm_eps)
        return scope.add("residual", Add(), x, y) if residual else y

    @property
    def _kind(self) -> str:
        if self.fused:
            return "FusedMBConv" if self.expansion > 1 else "FusedConv"
        return "MBConv" if self.expansion > 1 else "SeparableConv"

    def _norm_act(self, scope: ScopeBuilder, name: str, x: Value) -> Value:
        x = scope.norm(f"{name}_norm", x, eps=self.norm_eps)
        return scope.activation(f"{name}_act", x, self.activation)
