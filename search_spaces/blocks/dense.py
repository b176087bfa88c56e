"""Dense connectivity: layers that append channels, and transitions between stages."""

from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.blocks.squeeze_excite import INPUT, SCALED, check_squeeze, squeeze_excite
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import AvgPool2d, Concat, Dropout


@final
@dataclass(frozen=True, slots=True)
class DenseLayer(BlockSpec):
    """Appends new channels to those of its input.

    Layers in a row are a dense block: each reads what all before it have put out. Every
    convolution is pre-activated.

    Attributes:
        growth: Number of new channels (the growth rate).
        bottleneck: Channels of a 1x1 convolution before the other one, as a multiple of
            ``growth``; 0 leaves it out.
        kernel_size: Side of the kernel that yields the new channels.
        dropout: Probability of dropping a new value while training; 0 leaves it out.
        squeeze_ratio: Squeezed channels of squeeze-excite, which scales the new channels, as a
            share of others (at least one channel); 0 leaves it out.
        squeeze_of: Those others: ``scaled``, the new channels, or ``input``, the input's.
        activation: A key of ``primitives.ACTIVATIONS``; squeeze-excite has it, too.

    Source: DenseNet (arXiv:1608.06993), section 3: dense connectivity, growth rate, bottleneck
    layers (with 4 times the growth).
    """

    family: ClassVar[str] = "dense"

    growth: int
    bottleneck: int = 4
    kernel_size: int = 3
    dropout: float = 0.0
    squeeze_ratio: float = 0.0
    squeeze_of: str = SCALED
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_squeeze(self.squeeze_ratio, self.squeeze_of)
        if self.bottleneck < 0:
            raise ValueError(f"bottleneck must be at least 0, got {self.bottleneck}")

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = y = inputs[-1]
        growth = scope.argument("growth", self.growth)
        if self.bottleneck:
            inner = scope.argument("inner", self.bottleneck * self.growth)
            y = self._norm_act(scope, "reduce", y)
            y = scope.conv("reduce_conv", y, inner)
        y = self._norm_act(scope, "grow", y)
        y = scope.conv("grow_conv", y, growth, scope.argument("kernel", self.kernel_size))
        if self.dropout:
            y = scope.add("dropout", Dropout(self.dropout), y)
        if self.squeeze_ratio > 0:
            of = x.channels if self.squeeze_of == INPUT else growth
            y = squeeze_excite(
                scope, y, ratio=self.squeeze_ratio, of=of, activation=self.activation
            )
        return scope.add("concat", Concat(), x, y)

    def _norm_act(self, scope: ScopeBuilder, name: str, x: Value) -> Value:
        return scope.activation(f"{name}_act", scope.norm(f"{name}_norm", x), self.activation)


@final
@dataclass(frozen=True, slots=True)
class Transition(BlockSpec):
    """Fewer channels by a 1x1 convolution, fewer pixels by average pooling.

    The convolution is pre-activated.

    Attributes:
        compression: Output channels as a share of the input's, rounded down.
        stride: Side and step of the pool's windows; sides become ``floor(length / stride)``. 1
            leaves the pool out.
        dropout: Probability of dropping a value before the pool while training; 0 leaves it out.
        activation: A key of ``primitives.ACTIVATIONS``.
        width: Output channels where they do not follow from ``compression``, which is 1 then; 0
            where they do.

    Source: DenseNet (arXiv:1608.06993), section 3: pooling layers, compression.
    """

    family: ClassVar[str] = "dense"

    compression: float = 0.5
    stride: int = 2
    dropout: float = 0.0
    activation: str = "relu"
    width: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.compression <= 1:
            raise ValueError(f"compression must be above 0, at most 1, got {self.compression}")
        if self.width < 0:
            raise ValueError(f"width must be at least 0, got {self.width}")
        if self.width and self.compression != 1:
            raise ValueError(f"compression must be 1 with a width, got {self.compression}")

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = inputs[-1]
        width = self.width or max(1, int(x.channels * self.compression))
        width = scope.argument("out_channels", width)
        x = scope.activation("act", scope.norm("norm", x), self.activation)
        x = scope.conv("conv", x, width)
        if self.dropout:
            x = scope.add("dropout", Dropout(self.dropout), x)
        return scope.add("pool", AvgPool2d(self.stride, self.stride), x) if self.stride > 1 else x
