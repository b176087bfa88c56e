"""Compound scaling: a network with stages made deeper, wider and for larger images at once."""

from dataclasses import dataclass, fields, replace
from math import ceil, gcd
from typing import Any, Self, TypeVar, cast, final

from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    AvgPool,
    Bottleneck,
    Cell,
    Classifier,
    FractalBlock,
    FractalColumn,
    MaxPool,
    SqueezeExcite,
    Transition,
)
from search_spaces.lowering import BlockSpec
from search_spaces.reference.efficientnet import round_channels

LARGEST_DIVISOR = 8  # of channels, as in the released EfficientNet
STEP_SHARE = 100  # a step of the resolution is at most this part of the shorter side
DIGITS = 9  # of a product that count before it is rounded: 50 * 1.1 is 55

_CHANNELS = ("width", "growth")  # what blocks call the channels they declare
_FRAME = (MaxPool, AvgPool, Transition)  # what begins or ends a stage and is not repeated

Unit = tuple[BlockSpec, ...]
Block = TypeVar("Block", bound=BlockSpec)


@final
@dataclass(frozen=True, slots=True)
class Rounding:
    """What scaled numbers are rounded to.

    Attributes:
        divisor: Channels become multiples of it, at least 1.
        step: Sides of the input become multiples of it, in pixels, at least 1.
    """

    divisor: int
    step: int

    def __post_init__(self) -> None:
        for name in ("divisor", "step"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @classmethod
    def of(
        cls, architecture: Architecture, *, divisor: int | None = None, step: int | None = None
    ) -> Self:
        """The rounding that suits a network.

        Args:
            architecture: The network.
            divisor: Of channels; None for the greatest one that the network's own channels and 8
                have in common: 8 for EfficientNet, 4 for a growth of 12.
            step: Of sides, in pixels; None for a hundredth of the shorter side, rounded down, at
                least 1: 2 at 224 pixels, 1 below 200.
        """
        blocks = (architecture.stem, *_flat(architecture.stages), architecture.head)
        channels = [_channels(block) for block in blocks if not isinstance(block, SqueezeExcite)]
        if divisor is None:
            divisor = gcd(LARGEST_DIVISOR, *(width for found in channels for width in found))
        if step is None:
            step = max(1, min(architecture.input_shape[1:]) // STEP_SHARE)
        return cls(divisor, step)


def scale(
    architecture: Architecture,
    *,
    depth: float,
    width: float,
    resolution: float,
    rounding: Rounding | None = None,
) -> Architecture:
    """A network with its depth, width and resolution multiplied. A factor of 1 changes nothing.

    - Width: the channels that stem, blocks and head declare, and the growth of dense layers,
      become the nearest multiple of the divisor that is at most 10 % below the product. What
      follows from them (expansions, channels inside a bottleneck, compressions) follows. Grouped
      bottlenecks take the nearest multiple that their groups divide, cells an even one; the
      squeezed channels of a ``SqueezeExcite`` block are rounded to whole ones.
    - Depth: the number of blocks of a stage, multiplied and rounded up. The stage's last block is
      repeated, with stride 1 and without a pool of its own, or blocks are dropped from the end;
      one remains. Pools and transitions at either end of a stage stay and do not count, and a
      ``SqueezeExcite`` belongs to the block before it. The stem is one block at any depth.
    - Resolution: each side of the input, multiplied and rounded to the nearest multiple of the
      step, halves upwards.

    With the released coefficients EfficientNet-B0 becomes B1 to B7, but for their dropout.

    Args:
        architecture: The network.
        depth: Factor, alpha ** phi in the paper; above 0.
        width: Factor, beta ** phi; above 0.
        resolution: Factor, gamma ** phi; above 0.
        rounding: What numbers are rounded to; None for what suits the network.

    Raises:
        ValueError: If a factor is not above 0, the network has no stages of blocks to repeat
            (AlexNet, VGG, GoogLeNet), or no channels near the product fit its groups.

    Source: EfficientNet (arXiv:1905.11946), section 3.3 and equation (3); rounding of channels
    and depth: the released code.
    """
    for name, factor in (("depth", depth), ("width", width), ("resolution", resolution)):
        if not 0 < factor < float("inf"):
            raise ValueError(f"{name} must be above 0 and finite, got {factor}")
    check_stages(architecture)
    if rounding is None:
        rounding = Rounding.of(architecture)
    channels, *sides = architecture.input_shape
    height, columns = (_side(side, resolution, rounding.step) for side in sides)
    return replace(
        architecture,
        input_shape=(channels, height, columns),
        stem=_widened(architecture.stem, width, rounding.divisor),
        stages=tuple(
            tuple(
                _widened(block, width, rounding.divisor)
                for block in _deepened(stage, depth, architecture.title)
            )
            for stage in architecture.stages
        ),
        head=_widened(architecture.head, width, rounding.divisor),
    )


def check_stages(architecture: Architecture) -> None:
    """Check that a network can be scaled.

    Raises:
        ValueError: If its head looks at a map of fixed size, a block declares no channels, or a
            stage has no block to repeat.
    """
    title = architecture.title
    if not isinstance(architecture.head, Classifier):
        head = type(architecture.head).__name__
        raise ValueError(  # noqa: TRY004 - a network that a user named, not a type in code
            f"base must end in a mean over the map, whatever its size, got {title}, which ends in "
            f"{head}; name a network with stages, such as efficientnet_b0 or resnet18"
        )
    for place, stage in enumerate(architecture.stages):
        units = _parted(stage)[1]
        repeated = [block for unit in units for block in unit]
        odd = next((block for block in (architecture.stem, *repeated) if not _names(block)), None)
        if not units or odd is not None:
            what = "no block to repeat" if odd is None else f"{type(odd).__name__} blocks"
            raise ValueError(
                f"base must have stages of blocks of one width, got {title} with {what} in stage "
                f"{place}; name a network with stages, such as efficientnet_b0 or resnet18"
            )


def _side(side: int, factor: float, step: int) -> int:
    """A side of the input in pixels."""
    if factor == 1:
        return side
    return max(step, int(round(side * factor / step, DIGITS) + 0.5) * step)


def _deepened(stage: Unit, factor: float, title: str) -> Unit:
    """The blocks of a stage with its last one repeated or dropped."""
    begin, units, end = _parted(stage)
    count = ceil(round(len(units) * factor, DIGITS))
    kept = units[:count]
    if count > len(kept):
        again = tuple(_again(block, title) for block in units[-1])
        kept += (again,) * (count - len(kept))
    return (*begin, *_flat(kept), *end)


def _parted(stage: Unit) -> tuple[Unit, tuple[Unit, ...], Unit]:
    """What begins a stage, its blocks each with what belongs to it, and what ends it."""
    first, last = 0, len(stage)
    while first < last and isinstance(stage[first], _FRAME):
        first += 1
    while last > first and isinstance(stage[last - 1], _FRAME):
        last -= 1
    units: list[Unit] = []
    for block in stage[first:last]:
        if isinstance(block, SqueezeExcite) and units:
            units[-1] = (*units[-1], block)
        else:
            units.append((block,))
    return stage[:first], tuple(units), stage[last:]


def _again(block: Block, title: str) -> Block:
    """The same block for a map that it leaves as large as it is.

    Raises:
        ValueError: If it is a reduction cell, of which there is no such form.
    """
    if isinstance(block, Cell) and block.reduction:
        raise ValueError(
            f"base must have a normal cell at the end of each stage, got {title} with a stage of "
            "one reduction cell; depth must be at most 1, or name a base of more cells"
        )
    values = {"stride": 1} if "stride" in {field.name for field in _fields(block)} else {}
    if isinstance(block, FractalBlock | FractalColumn):
        values["pool"] = 1
    return replace(cast("Any", block), **values)  # type: ignore[no-any-return]


def _widened(block: Block, factor: float, divisor: int) -> Block:
    """The block with the channels that it declares multiplied."""
    if factor == 1:
        return block
    step = 1 if isinstance(block, SqueezeExcite) else divisor
    values = {
        name: _rounded(block, round(getattr(block, name) * factor, DIGITS), step)
        for name in _names(block)
        if getattr(block, name)  # 0 leaves a convolution out, or takes the input's channels
    }
    return replace(cast("Any", block), **values)  # type: ignore[no-any-return]


def _rounded(block: BlockSpec, channels: float, divisor: int) -> int:
    """The multiple of ``divisor`` nearest to ``channels``, at most 10 % below, that fits.

    Raises:
        ValueError: If none up to four times ``channels`` fits.
    """
    nearest = round_channels(channels, divisor=divisor)
    if _fits(block, nearest):
        return nearest
    fitting = [
        width
        for width in range(divisor, int(4 * channels) + divisor, divisor)
        if width >= 0.9 * channels and _fits(block, width)
    ]
    if not fitting:
        raise ValueError(
            f"divisor must leave channels near {channels:g} that fit {block}, got {divisor}; "
            "name a smaller one"
        )
    return min(fitting, key=lambda width: (abs(width - channels), -width))


def _fits(block: BlockSpec, width: int) -> bool:
    """Whether a block can have that many channels."""
    if isinstance(block, Bottleneck):
        return max(1, int(width * block.inner_ratio)) % block.groups == 0
    return not isinstance(block, Cell) or width % 2 == 0


def _channels(block: BlockSpec) -> list[int]:
    """The channels that a block declares."""
    return [getattr(block, name) for name in _names(block)]


def _names(block: BlockSpec) -> list[str]:
    """Fields with the channels that a block declares."""
    return [field.name for field in _fields(block) if field.name in _CHANNELS]


def _fields(block: BlockSpec) -> tuple[Any, ...]:
    return fields(cast("Any", block))


def _flat(parts: tuple[Unit, ...]) -> Unit:
    return tuple(block for part in parts for block in part)
