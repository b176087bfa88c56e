"""What spaces of images of any size share: what they refuse, resolutions, widths."""

from collections.abc import Iterable

from search_spaces.genome import OptionValue
from search_spaces.reference.efficientnet import round_channels

SMALLEST_SIDE = 8
RESOLUTION_RATIOS = (0.75, 0.875, 1.0, 1.125)


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
