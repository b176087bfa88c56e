"""What spaces of images of any size share: what they refuse, resolutions, maps, widths."""

from collections.abc import Iterable
from dataclasses import dataclass

from search_spaces.blocks import Stem
from search_spaces.genome import Decision, OptionValue
from search_spaces.reference.efficientnet import round_channels

SMALLEST_SIDE = 8
RESOLUTION_RATIOS = (0.75, 0.875, 1.0, 1.125)

STEM_SIDE = 64  # pixels of the shorter side from which on a stem halves the map
SMALL_SIDE = 32  # pixels of the shorter side of CIFAR's images
STAGES = (2, 4)
LAST_MAP = 7  # pixels of the last map's shorter side where there are more than two stages

KERNEL_SIZES = (3, 5)
KERNEL_MAP = 8  # pixels of a map's shorter side from which on its kernel is open


def check_images(input_shape: tuple[int, int, int], num_classes: int) -> None:
    """Check that images can be searched for.

    Raises:
        ValueError: If a side has fewer than ``SMALLEST_SIDE`` pixels, there is no channel, or
            there are fewer than two classes.
    """
    channels, height, width = input_shape
    if min(height, width) < SMALLEST_SIDE or channels < 1:
        raise ValueError(
            f"input_shape must have a channel and sides of at least {SMALLEST_SIDE} pixels, "
            f"got {channels}x{height}x{width}"
        )
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")


def resolutions(height: int, width: int) -> dict[str, tuple[int, int]]:
    """Input sizes around that of the images, by the name that genotypes use."""
    sizes = [(int(height * ratio + 0.5), int(width * ratio + 0.5)) for ratio in RESOLUTION_RATIOS]
    return {f"{rows}x{columns}": (rows, columns) for rows, columns in sizes}


def widths(width: int, ratios: Iterable[float]) -> list[OptionValue]:
    """Options of a width: multiples of ``width``, rounded to eights, each once."""
    return sorted({round_channels(width * ratio) for ratio in ratios})


def kernels(name: str, side: int) -> tuple[Decision, ...]:
    """The decision ``<name>.kernel`` where the map is large enough for it.

    Args:
        name: What opens it.
        side: Shorter side of the map in pixels.
    """
    return (Decision.of(f"{name}.kernel", KERNEL_SIZES),) if side >= KERNEL_MAP else ()


def stem_halvings(height: int, width: int) -> int:
    """How often a stem halves the map: once from ``STEM_SIDE`` pixels on, twice from twice that."""
    return min(2, (min(height, width) // STEM_SIDE).bit_length())


@dataclass(frozen=True, slots=True)
class Staged:
    """Maps of networks whose every stage but the first begins by halving.

    The stem halves as ``stem_halvings`` says. There are as many stages, from two to four, as
    leave a last map of at least ``LAST_MAP`` pixels; the smallest images have two. So 224 pixels
    have four stages, as networks for ImageNet, and 32 pixels three, as those for CIFAR.

    Attributes:
        halvings: Those of the stem, from 0 to 2.
        sides: Shorter side of each stage's map in pixels, at the data's own resolution.
        scale: What size of network fits: 0 for images smaller than those of CIFAR, 1 for images
            like those, 2 where the stem halves, as for ImageNet.
    """

    halvings: int
    sides: tuple[int, ...]
    scale: int

    def stem(self, width: int, *, norm: bool, activation: str) -> Stem:
        """A 7x7 convolution where the stem halves, with a pool where it halves twice, else 3x3."""
        if not self.halvings:
            return Stem(width, 3, 1, norm=norm, pool=False, activation=activation)
        return Stem(width, norm=norm, pool=self.halvings == 2, activation=activation)


def staged(height: int, width: int) -> Staged:
    """The maps for images of one size, in pixels, sides of at least 8."""
    halvings = stem_halvings(height, width)
    fewest, most = STAGES
    side = min(height, width) >> halvings
    sides: list[int] = []
    while len(sides) < fewest or (len(sides) < most and side >= LAST_MAP):
        sides.append(side)
        side = -(-side // 2)
    scale = 2 if halvings else int(min(height, width) >= SMALL_SIDE)
    return Staged(halvings, tuple(sides), scale)
