"""The ``mixed`` space: each stage chooses its family, MBConv, residual, dense or fractal."""

from typing import final

from search_spaces import dense, mbconv, residual
from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    AvgPool,
    Classifier,
    FractalBlock,
    MaxPool,
    SqueezeExcite,
    Transition,
)
from search_spaces.genome import Decision, Genome, Genotype, Option
from search_spaces.lowering import BlockSpec
from search_spaces.reference.resnet import WIDTHS
from search_spaces.skeleton import (
    KERNEL_SIZES,
    check_images,
    kernels,
    resolutions,
    staged,
    widths,
)
from search_spaces.space import SearchSpace

ACTIVATIONS = ("relu", "hardswish", "silu")
DEPTHS = (1, 2, 3, 4)
COLUMNS = (2, 3, 4)
INNER_RATIOS = (0.5, 1.0)
SQUEEZE_RATIO = 1 / 16  # of the output of a fractal block
HEAD_MULTIPLE = 2  # of the last stage's width, before the classes

# By the scale of the skeleton. Groups divide the channels inside the narrowest bottleneck.
WIDTH_RATIOS = ((0.125, 0.25, 0.5), (0.25, 0.5, 1.0), (0.25, 0.5, 1.0))
STEM_WIDTHS = (16, 16, 32)
GROUPS = ((1, 4), (1, 8), (1, 8))
LAYERS = ((2, 4, 6, 8), (4, 8, 12, 16), (4, 8, 12, 16))
GROWTHS = ((4, 8, 12), (8, 12, 16, 24), (12, 24, 32))


@final
class MixedSpace(SearchSpace):
    """Networks whose stages are of different families.

    Open are the input resolution, the activation, and for each stage its width and its family,
    which owns all further decisions: MBConv its depth, kernel, expansion and squeeze-excite; a
    residual stage its depth, kernel, squeeze-excite and kind of block, a bottleneck its channels
    inside and groups; a dense stage its layers, growth, bottlenecks, kernel and squeeze-excite; a
    fractal block its columns, kernel and squeeze-excite. ``sample_options`` of the genome draws
    each family as often; ``sample_genotype`` draws those more often that leave more open.

    The skeleton follows the images; see ``skeleton.Staged``. Every stage but the first begins by
    halving the map and every stage ends at its width, so that any family can follow any other
    and all of one stage see a map of the same size: MBConv and residual stages halve it in their
    first block, dense ones by average and fractal ones by max pooling before it; a dense stage
    ends with a 1x1 transition to its width.

    Deviations from the families' papers: pools stand before a stage, not behind it; a bottleneck
    puts out the stage's width, as all do, not four times that; the head's 1x1 convolution brings
    the batch norm and activation that a pre-activated stage leaves to its successor.

    Args:
        input_shape: ``(channels, height, width)`` of the images; sides of at least 8 pixels.
        num_classes: Number of classes, at least 2.

    Raises:
        ValueError: If a value is out of range.

    Source: EfficientNet (arXiv:1905.11946), ResNet (arXiv:1512.03385), DenseNet
    (arXiv:1608.06993), FractalNet (arXiv:1605.07648).
    """

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        check_images(input_shape, num_classes)
        self._channels = input_shape[0]
        self._num_classes = num_classes
        self._staged = staged(*input_shape[1:])
        self._sizes = resolutions(*input_shape[1:])
        self._genome = Genome(
            (
                Decision.of("resolution", list(self._sizes)),
                Decision.of("activation", ACTIVATIONS),
                *(
                    decision
                    for place, side in enumerate(self._staged.sides)
                    for decision in _stage_decisions(place, side, scale=self._staged.scale)
                ),
            )
        )

    @property
    def genome(self) -> Genome:
        """Resolution, activation, then width and family of each stage in turn."""
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        """See the class.

        Raises:
            ValueError: If ``genotype`` is not one of ``genome``.
        """
        self._genome.check(genotype)
        activation = str(genotype["activation"])
        height, width = self._sizes[str(genotype["resolution"])]
        stages = len(self._staged.sides)
        last_width = int(genotype[f"stage{stages - 1}.width"])
        return Architecture(
            title="MixedNet",
            input_shape=(self._channels, height, width),
            stem=self._staged.stem(
                STEM_WIDTHS[self._staged.scale], norm=True, activation=activation
            ),
            stages=tuple(_blocks(genotype, place) for place in range(stages)),
            head=Classifier(
                self._num_classes, width=HEAD_MULTIPLE * last_width, activation=activation
            ),
        )


def _stage_decisions(place: int, side: int, *, scale: int) -> tuple[Decision, ...]:
    """Width and family, which opens the rest; names begin with stage and family."""
    name = f"stage{place}"
    inside = (
        Decision.of(f"{name}.residual.inner", INNER_RATIOS),
        Decision.of(f"{name}.residual.groups", GROUPS[scale]),
    )
    families = (
        Option(
            "mbconv",
            (
                Decision.of(f"{name}.mbconv.depth", DEPTHS),
                *mbconv.block_decisions(f"{name}.mbconv"),
            ),
        ),
        Option(
            "residual",
            residual.stage_decisions(f"{name}.residual", DEPTHS, side=side, inside=inside),
        ),
        Option(
            "dense",
            dense.stage_decisions(
                f"{name}.dense", LAYERS[scale], growths=GROWTHS[scale], side=side
            ),
        ),
        Option(
            "fractal",
            (
                Decision.of(f"{name}.fractal.columns", COLUMNS),
                *kernels(f"{name}.fractal", side),
                Decision.of(f"{name}.fractal.squeeze_excite", (0.0, SQUEEZE_RATIO)),
            ),
        ),
    )
    return (
        Decision.of(f"{name}.width", widths(WIDTHS[place], WIDTH_RATIOS[scale])),
        Decision(f"{name}.family", families),
    )


def _blocks(genotype: Genotype, place: int) -> tuple[BlockSpec, ...]:
    """The blocks of a stage: from whatever comes in to the stage's width."""
    family = str(genotype[f"stage{place}.family"])
    name = f"stage{place}.{family}"
    width = int(genotype[f"stage{place}.width"])
    activation = str(genotype["activation"])
    stride = 2 if place else 1
    match family:
        case "mbconv":
            return tuple(
                mbconv.block(
                    *(genotype, name),
                    width=width,
                    stride=stride if number == 0 else 1,
                    activation=activation,
                )
                for number in range(int(genotype[f"{name}.depth"]))
            )
        case "residual":
            return residual.stage_blocks(
                genotype, name, width=width, expansion=1, stride=stride, pre_activation=False
            )
        case "dense":
            pool: tuple[BlockSpec, ...] = (AvgPool(2, 2),) if place else ()
            end = Transition(1.0, 1, activation=activation, width=width)
            return *pool, *dense.stage_layers(genotype, name), end
        case _:
            pool = (MaxPool(2, 2),) if place else ()
            return *pool, *_fractal(genotype, name, width)


def _fractal(genotype: Genotype, name: str, width: int) -> tuple[BlockSpec, ...]:
    activation = str(genotype["activation"])
    ratio = float(genotype[f"{name}.squeeze_excite"])
    block = FractalBlock(
        width,
        int(genotype[f"{name}.columns"]),
        int(genotype.get(f"{name}.kernel") or KERNEL_SIZES[0]),
        pool=1,
        activation=activation,
    )
    if not ratio:
        return (block,)
    return block, SqueezeExcite(max(1, int(width * ratio)), activation)
