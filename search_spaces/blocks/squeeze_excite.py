"""Squeeze-and-excitation."""

from dataclasses import dataclass
from typing import final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Activation, Conv2d, GlobalAvgPool2d, Multiply

INPUT, SCALED = SQUEEZE_OF = ("input", "scaled")


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


def check_squeeze(ratio: float, of: str = INPUT) -> None:
    """Check what a block says of its squeeze-excite.

    Args:
        ratio: Squeezed channels as a share of others; 0 for no squeeze-excite.
        of: Which others: ``input``, those that the block is handed, or ``scaled``, those that
            squeeze-excite scales.

    Raises:
        ValueError: If the ratio is not in [0, 1], or ``of`` is another word.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"squeeze_ratio must be from 0 to 1, got {ratio}")
    if of not in SQUEEZE_OF:
        raise ValueError(f"squeeze_of must be one of {', '.join(SQUEEZE_OF)}, got {of!r}")


def squeeze_excite(
    scope: ScopeBuilder, x: Value, *, ratio: float, of: int, activation: str
) -> Value:
    """Add squeeze-excite to a block, as its part ``squeeze_excite``, with a sigmoid gate.

    Args:
        scope: The block's scope; the squeezed channels become its argument ``squeeze``.
        x: What is scaled.
        ratio: Squeezed channels as a share of ``of``, at least one channel.
        of: Number of channels that the ratio refers to.
        activation: Non-linearity between the two 1x1 convolutions.
    """
    squeeze = scope.argument("squeeze", max(1, int(of * ratio)))
    return scope.block("squeeze_excite", SqueezeExcite(squeeze, activation), x)
