"""Residual blocks: basic and bottleneck; wide, grouped, with squeeze-excite or pre-activation."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

from search_spaces.blocks.squeeze_excite import INPUT, SCALED, check_squeeze, squeeze_excite
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Add, Dropout


class _Conv(NamedTuple):
    """One convolution of a residual branch."""

    name: str
    out_channels: int
    kernel_size: int = 1
    stride: int = 1
    groups: int = 1


@dataclass(frozen=True, slots=True)
class _Residual(BlockSpec):
    """Convolutions that are added to their input.

    The shortcut is the identity where shapes agree, else a projection: a 1x1 convolution with
    the stride, and batch norm after it unless pre-activated.

    Attributes:
        width: Output channels.
        kernel_size: Side of the kernels that look around.
        stride: Step of one convolution; sides become ``ceil(length / stride)``.
        dropout: Probability of dropping a value before the last convolution while training; 0
            leaves it out.
        pre_activation: Batch norm and activation stand before each convolution, nothing after
            the sum. A projection then reads what they put out, the identity the input itself.
        squeeze_ratio: Squeezed channels of squeeze-excite, which scales what is added to the
            shortcut, as a share of others (at least one channel); 0 leaves it out.
        squeeze_of: Those others: ``scaled``, the output's, or ``input``, the input's channels.
        activation: A key of ``primitives.ACTIVATIONS``; squeeze-excite has it, too.

    Source: ResNet (arXiv:1512.03385), section 3.3, option B; pre-activation: arXiv:1603.05027,
    figure 1 (b); dropout: arXiv:1605.07146, figure 1 (d); squeeze-excite: arXiv:1709.01507,
    figure 3.
    """

    family: ClassVar[str] = "residual"

    width: int
    kernel_size: int = 3
    stride: int = 1
    dropout: float = 0.0
    pre_activation: bool = False
    squeeze_ratio: float = 0.0
    squeeze_of: str = SCALED
    activation: str = "relu"

    @final
    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = inputs[-1]
        projected = self.stride != 1 or self.width != x.channels
        width = scope.argument("out_channels", self.width) if projected else x.channels
        stride = scope.argument("stride", self.stride) if projected else 1
        prefix = "Projected" if projected else ""
        scope.title(f"{prefix}{'PreAct' if self.pre_activation else ''}{type(self).__name__}")
        convs = self._convs(scope, width, stride)
        y, entry = self._branch(scope, x, convs)
        if self.squeeze_ratio > 0:
            of = x.channels if self.squeeze_of == INPUT else width
            y = squeeze_excite(
                scope, y, ratio=self.squeeze_ratio, of=of, activation=self.activation
            )
        if projected:
            x = scope.conv("shortcut_conv", entry, width, stride=stride)
            x = x if self.pre_activation else scope.norm("shortcut_norm", x)
        y = scope.add("sum", Add(), y, x)
        return y if self.pre_activation else scope.activation("act", y, self.activation)

    @abstractmethod
    def _convs(self, scope: ScopeBuilder, width: int, stride: int) -> tuple[_Conv, ...]:
        """The convolutions of the branch, the last one ``width`` channels wide."""

    @final
    def _branch(
        self, scope: ScopeBuilder, x: Value, convs: tuple[_Conv, ...]
    ) -> tuple[Value, Value]:
        """What the convolutions yield, and what a projection reads."""
        y = entry = x
        for place, (name, out_channels, kernel, stride, groups) in enumerate(convs):
            if self.pre_activation:
                y = self._norm_act(scope, name, y)
                entry = y if place == 0 else entry
            if self.dropout and place == len(convs) - 1:
                y = scope.add("dropout", Dropout(self.dropout), y)
            y = scope.conv(f"{name}_conv", y, out_channels, kernel, stride=stride, groups=groups)
            if not self.pre_activation:
                last = place == len(convs) - 1
                y = scope.norm(f"{name}_norm", y) if last else self._norm_act(scope, name, y)
        return y, entry

    @final
    def _norm_act(self, scope: ScopeBuilder, name: str, x: Value) -> Value:
        return scope.activation(f"{name}_act", scope.norm(f"{name}_norm", x), self.activation)


@final
@dataclass(frozen=True, slots=True)
class BasicBlock(_Residual):
    """Two convolutions that are added to their input.

    The first one has the stride. The rest is said under ``_Residual``.

    Source: arXiv:1512.03385, figure 5, left; wide ones are the same with more channels
    (arXiv:1605.07146).
    """

    variants: ClassVar[Mapping[str, str]] = {
        "ProjectedBasicBlock": "Two convolutions, added to a projection of their input.",
        "PreActBasicBlock": "Two pre-activated convolutions that are added to their input.",
        "ProjectedPreActBasicBlock": "Two pre-activated convolutions, added to a projection.",
    }

    def __post_init__(self) -> None:
        check_squeeze(self.squeeze_ratio, self.squeeze_of)

    def _convs(self, scope: ScopeBuilder, width: int, stride: int) -> tuple[_Conv, ...]:
        kernel = scope.argument("kernel", self.kernel_size)
        return _Conv("first", width, kernel, stride), _Conv("second", width, kernel)


@final
@dataclass(frozen=True, slots=True)
class Bottleneck(_Residual):
    """Three convolutions, the outer ones 1x1, that are added to their input.

    The convolution in the middle has the stride. The rest is said under ``_Residual``.

    Attributes:
        inner_ratio: Channels inside as a share of the output's: 1/4 in ResNet, more in wide
            residual networks and in ResNeXt.
        groups: Independent groups of channels in the middle (the cardinality of ResNeXt); a
            divisor of the channels inside.
        stride_first: Whether the first convolution has the stride instead.

    Source: arXiv:1512.03385, figure 5, right, where the first convolution has the stride; the
    middle one has it since arXiv:1706.02677 (section 5.1); groups: ResNeXt (arXiv:1611.05431),
    figure 3 (c).
    """

    variants: ClassVar[Mapping[str, str]] = {
        "ProjectedBottleneck": "Three convolutions, the outer ones 1x1, added to a projection.",
        "PreActBottleneck": "Three pre-activated convolutions that are added to their input.",
        "ProjectedPreActBottleneck": "Three pre-activated convolutions, added to a projection.",
    }

    inner_ratio: float = 0.25
    groups: int = 1
    stride_first: bool = False

    def __post_init__(self) -> None:
        check_squeeze(self.squeeze_ratio, self.squeeze_of)
        if not 0 < self.inner_ratio <= 16:
            raise ValueError(f"inner_ratio must be above 0, at most 16, got {self.inner_ratio}")

    def _convs(self, scope: ScopeBuilder, width: int, stride: int) -> tuple[_Conv, ...]:
        inner = scope.argument("inner", max(1, int(self.width * self.inner_ratio)))
        kernel = scope.argument("kernel", self.kernel_size)
        groups = scope.argument("groups", self.groups)
        first, middle = (stride, 1) if self.stride_first else (1, stride)
        return (
            _Conv("reduce", inner, stride=first),
            _Conv("middle", inner, kernel, middle, groups),
            _Conv("expand", width),
        )
