"""A block of your own: the Ghost module (arXiv:1911.11907, figure 2b)."""

from dataclasses import dataclass

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Concat


@dataclass(frozen=True, slots=True)
class Ghost(BlockSpec):
    """Half of the channels by a convolution, the other half from those by a cheap one."""

    half_width: int
    stride: int = 1

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        half = scope.argument("half_channels", self.half_width)
        stride = scope.argument("stride", self.stride)
        x = scope.norm("norm", scope.conv("conv", inputs[-1], half, 3, stride=stride))
        x = scope.activation("act", x, "relu")
        cheap = scope.norm("cheap_norm", scope.conv("cheap_conv", x, half, 3, groups=half))
        return scope.add("join", Concat(), x, cheap)
