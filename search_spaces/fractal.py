"""The ``fractal`` space: blocks of one to four columns, around FractalNet."""

from typing import final

from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, FractalBlock, Stem
from search_spaces.genome import Decision, Genome, Genotype
from search_spaces.lowering import BlockSpec
from search_spaces.reference.fractalnet import FILTERS
from search_spaces.skeleton import (
    KERNEL_SIZES,
    check_images,
    kernels,
    resolutions,
    stem_halvings,
    widths,
)
from search_spaces.space import SearchSpace

COLUMNS = (1, 2, 3, 4)
WIDTH_RATIOS = (0.125, 0.25, 0.5, 1.0)
ACTIVATIONS = ("relu", "hardswish", "silu")


@final
class FractalSpace(SearchSpace):
    """Networks in the manner of FractalNet.

    Open are the input resolution, the activation, and for each block its columns, its width and,
    on maps of at least 8 pixels, its kernel, which is 3 elsewhere. Blocks of one column are plain
    convolutions, so that the space reaches from shallow to very deep networks.

    The skeleton follows the images. At 32 pixels it is that of FractalNet for CIFAR, which is a
    point of the space with 3 columns, 20 layers, and with 4, 40 layers: five blocks, each of
    which halves the map. Smaller images go through as many blocks as leave a pixel, the first
    ones of FractalNet. Larger ones go through a stem first, which halves the map once from 64
    pixels on, and twice from 128 on.

    Args:
        input_shape: ``(channels, height, width)`` of the images; sides of at least 8 pixels.
        num_classes: Number of classes, at least 2.

    Raises:
        ValueError: If a value is out of range.

    Source: FractalNet (arXiv:1605.07648), sections 3 and 4; the stem is that of ResNet, which
    its network for ImageNet has, too.
    """

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        check_images(input_shape, num_classes)
        self._channels = input_shape[0]
        self._num_classes = num_classes
        self._stem_halvings, self._sides = skeleton(*input_shape[1:])
        self._sizes = resolutions(*input_shape[1:])
        self._genome = Genome(
            (
                Decision.of("resolution", list(self._sizes)),
                Decision.of("activation", ACTIVATIONS),
                *(
                    decision
                    for place, side in enumerate(self._sides)
                    for decision in _decisions(place, side)
                ),
            )
        )

    @property
    def genome(self) -> Genome:
        """Resolution, activation, then the decisions of each block in turn."""
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        """See the class.

        Raises:
            ValueError: If ``genotype`` is not one of ``genome``.
        """
        self._genome.check(genotype)
        activation = str(genotype["activation"])
        blocks: list[BlockSpec] = [
            FractalBlock(
                width=int(genotype[f"block{place}.width"]),
                columns=int(genotype[f"block{place}.columns"]),
                kernel_size=int(genotype.get(f"block{place}.kernel") or KERNEL_SIZES[0]),
                activation=activation,
            )
            for place in range(len(self._sides))
        ]
        if self._stem_halvings:
            blocks.insert(0, Stem(pool=self._stem_halvings == 2, activation=activation))
        height, width = self._sizes[str(genotype["resolution"])]
        return Architecture(
            title="FractalNet",
            input_shape=(self._channels, height, width),
            stem=blocks[0],
            stages=tuple((block,) for block in blocks[1:]),
            head=Classifier(self._num_classes),
        )


def skeleton(height: int, width: int) -> tuple[int, tuple[int, ...]]:
    """Halvings of the stem, from 0 to 2, and the shorter side of each block's map in pixels.

    Args:
        height: Pixels, at least 8.
        width: Pixels, at least 8.

    Returns:
        The sides are of three to five blocks. The last block, too, can halve its map.
    """
    side, halvings = min(height, width), stem_halvings(height, width)
    blocks = min(len(FILTERS), (side >> halvings).bit_length() - 1)
    return halvings, tuple(side >> (halvings + place) for place in range(blocks))


def _decisions(place: int, side: int) -> list[Decision]:
    name = f"block{place}"
    return [
        Decision.of(f"{name}.columns", COLUMNS),
        Decision.of(f"{name}.width", widths(FILTERS[place], WIDTH_RATIOS)),
        *kernels(name, side),
    ]
