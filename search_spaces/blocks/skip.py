"""The operations of a cell that compute nothing: identity and zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Identity, MaxPool2d, Zeros


@final
@dataclass(frozen=True, slots=True)
class Skip(BlockSpec):
    """The input itself.

    Attributes:
        width: Output channels; 0 for those of the input.
        stride: Step in pixels; sides become ``ceil(length / stride)``.

    Where width or size change, a 1x1 convolution with batch norm takes the place of the identity.

    Source: the shortcuts of ResNet (arXiv:1512.03385), section 3.3, option B.
    """

    variants: ClassVar[Mapping[str, str]] = {"Projection": "1x1 convolution, batch norm."}

    width: int = 0
    stride: int = 1

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError(f"width must be at least 0, got {self.width}")

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = inputs[-1]
        if self.stride == 1 and self.width in {0, x.channels}:
            return scope.add("skip", Identity(), x)
        scope.title("Projection")
        width = scope.argument("out_channels", self.width) if self.width else x.channels
        stride = scope.argument("stride", self.stride)
        return scope.norm("norm", scope.conv("conv", x, width, stride=stride))


@final
@dataclass(frozen=True, slots=True)
class Zero(BlockSpec):
    """Zeros in the shape of the input.

    A cell that may leave an edge out should rather do so: layers that only zeros read keep their
    weights.

    Attributes:
        stride: Step in pixels; sides become ``ceil(length / stride)``.

    Source: DARTS (arXiv:1806.09055), section 2.1.
    """

    stride: int = 1

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = inputs[-1]
        if self.stride > 1:
            x = scope.add("shrink", MaxPool2d(1, self.stride), x)
        return scope.add("zeros", Zeros(), x)
