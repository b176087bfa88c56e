"""Squeeze-and-excitation."""

from dataclasses import dataclass
from typing import final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Activation, Conv2d, GlobalAvgPool2d, Multiply


@final
@dataclass(frozen=True, slots=True)
class SqueezeExcite(BlockSpec):
    """Scales each channel by a gate computed from the mean of all channels.

    Attributes:
        width: Channels of the squeezed vector.
        activation: Non-linearity between the two 1x1 convolutions.
        gate: Non-linearity that yields the scale.

    Source: arXiv:1709.01507, section 3; 1x1 convolutions with bias stand for its linear layers.
    """

    width: int
    activation: str = "relu"
    gate: str = "sigmoid"

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = inputs[-1]
        squeezed = scope.argument("squeezed_channels", self.width)
        scale = scope.add("pool", GlobalAvgPool2d(), x)
        scale = scope.add("reduce", Conv2d(squeezed, bias=True), scale)
        scale = scope.add("act", Activation(self.activation), scale)
        scale = scope.add("expand", Conv2d(x.channels, bias=True), scale)
        scale = scope.add("gate", Activation(self.gate), scale)
        return scope.add("scale", Multiply(), x, scale)
