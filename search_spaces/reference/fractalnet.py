"""FractalNet of 20 and of 40 layers, as published for CIFAR."""

from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, FractalBlock

# arXiv:1605.07648, section 4: filters of the five blocks.
FILTERS = (64, 128, 256, 512, 512)


def fractalnet(
    columns: int,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
) -> Architecture:
    """Five fractal blocks, each of which halves the map; depth is ``5 * 2 ** (columns - 1)``.

    The first block stands as the stem. Other image sizes go through the same blocks; what is
    left of the map, one pixel at 32x32, is averaged.

    Args:
        columns: Columns of every block; 3 for the network of 20 layers, 4 for 40.
        input_shape: ``(channels, height, width)`` of the images.
        num_classes: Number of classes, at least 1.

    Raises:
        ValueError: If ``columns`` is out of range.

    Source: arXiv:1605.07648, section 4, and the authors' released generator.
    Deviation: the dropout of 0, 0.1, 0.2, 0.3 and 0.4 in its five blocks is left out, as in the
    rows of table 1 that are without it; drop-path belongs to the training recipe.
    """
    first, *rest = (FractalBlock(width, columns) for width in FILTERS)
    return Architecture(
        title="FractalNet",
        input_shape=input_shape,
        stem=first,
        stages=tuple((block,) for block in rest),
        head=Classifier(num_classes),
    )
