"""The ``residual`` space: basic and bottleneck blocks, around ResNet, ResNeXt and SENet."""

from typing import final

from search_spaces.architecture import Architecture
from search_spaces.blocks import BasicBlock, Bottleneck, Classifier
from search_spaces.genome import Decision, Genome, Genotype, Option
from search_spaces.lowering import BlockSpec
from search_spaces.reference.resnet import EXPANSION, WIDTHS
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
DEPTHS = ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 4, 6), (1, 2, 3, 4))
SQUEEZE_RATIOS = (0.0, 1 / 16)
INNER_RATIOS = (0.25, 0.5)

# By the scale of the skeleton. For images like those of CIFAR the ratios make widths of 1/2, 1, 2
# and 4 times those of ResNet there (16, 32 and 64), so that wide ones up to WRN-28-4 are among
# them; 8 groups are those of ResNeXt-29, 8x64d.
WIDTH_RATIOS = ((0.125, 0.25, 0.5), (0.125, 0.25, 0.5, 1.0), (0.5, 1.0, 1.5))
STEM_WIDTHS = (16, 16, 64)
GROUPS = ((1, 8), (1, 8), (1, 32))


@final
class ResidualSpace(SearchSpace):
    """Networks in the manner of ResNet, wide ones, ResNeXt and SENet.

    Open are the input resolution, the activation, pre-activation, and for each stage its width,
    its depth, its kernel on maps of at least 8 pixels, squeeze-excite, and whether its blocks are
    basic or bottlenecks. A bottleneck puts out four times the width; open are then the channels
    inside, their groups and, in stages that halve the map, which of its convolutions does.

    The skeleton follows the images; see ``skeleton.Staged``. At 224 pixels it is that of
    ResNet: resnet18, resnet34, resnet50, wide_resnet50_2, resnext50_32x4d, se_resnet50 and
    se_resnext50_32x4d are points of the space. At 32 pixels it is that of residual networks for
    CIFAR, wide ones up to four times the width among them.

    Args:
        input_shape: ``(channels, height, width)`` of the images; sides of at least 8 pixels.
        num_classes: Number of classes, at least 2.

    Raises:
        ValueError: If a value is out of range.

    Source: ResNet (arXiv:1512.03385), table 1; pre-activation: arXiv:1603.05027; wide:
    arXiv:1605.07146; ResNeXt (arXiv:1611.05431); SENet (arXiv:1709.01507).
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
                Decision.of("pre_activation", (False, True)),
                *(
                    decision
                    for place, side in enumerate(self._staged.sides)
                    for decision in self._decisions(place, side)
                ),
            )
        )

    @property
    def genome(self) -> Genome:
        """Resolution, activation, pre-activation, then the decisions of each stage in turn."""
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        """See the class.

        Raises:
            ValueError: If ``genotype`` is not one of ``genome``.
        """
        self._genome.check(genotype)
        activation = str(genotype["activation"])
        pre_activation = bool(genotype["pre_activation"])
        height, width = self._sizes[str(genotype["resolution"])]
        return Architecture(
            title="ResNet",
            input_shape=(self._channels, height, width),
            stem=self._staged.stem(
                STEM_WIDTHS[self._staged.scale], norm=not pre_activation, activation=activation
            ),
            stages=tuple(
                stage_blocks(
                    genotype,
                    f"stage{place}",
                    width=int(genotype[f"stage{place}.width"]),
                    expansion=EXPANSION,
                    stride=2 if place else 1,
                    pre_activation=pre_activation,
                )
                for place in range(len(self._staged.sides))
            ),
            head=Classifier(
                self._num_classes, activation=activation, pre_activation=pre_activation
            ),
        )

    def _decisions(self, place: int, side: int) -> tuple[Decision, ...]:
        name, scale = f"stage{place}", self._staged.scale
        inside = [
            Decision.of(f"{name}.inner", INNER_RATIOS),
            Decision.of(f"{name}.groups", GROUPS[scale]),
        ]
        if place:
            inside.append(Decision.of(f"{name}.stride_first", (False, True)))
        return (
            Decision.of(f"{name}.width", widths(WIDTHS[place], WIDTH_RATIOS[scale])),
            *stage_decisions(name, DEPTHS[place], side=side, inside=tuple(inside)),
        )


def stage_decisions(
    name: str, depths: tuple[int, ...], *, side: int, inside: tuple[Decision, ...]
) -> tuple[Decision, ...]:
    """What is open in a stage of residual blocks, beside its width.

    Args:
        name: What the decisions' names begin with.
        depths: Numbers of blocks.
        side: Shorter side of the map in pixels.
        inside: What a bottleneck opens: ``inner``, ``groups`` and perhaps ``stride_first``.
    """
    kinds = (Option("basic"), Option("bottleneck", inside))
    return (
        Decision.of(f"{name}.depth", depths),
        *kernels(name, side),
        Decision.of(f"{name}.squeeze_excite", SQUEEZE_RATIOS),
        Decision(f"{name}.kind", kinds),
    )


def stage_blocks(
    genotype: Genotype,
    name: str,
    *,
    width: int,
    expansion: int,
    stride: int,
    pre_activation: bool,
) -> tuple[BlockSpec, ...]:
    """The blocks that the answers to ``stage_decisions`` stand for.

    Args:
        genotype: Answers, that to ``activation`` among them.
        name: As there.
        width: Output channels of a basic block.
        expansion: Output channels of a bottleneck as a multiple of that.
        stride: Step of the first block.
        pre_activation: Whether batch norm and activation stand before each convolution.
    """
    kernel_size = int(genotype.get(f"{name}.kernel") or KERNEL_SIZES[0])
    squeeze_ratio = float(genotype[f"{name}.squeeze_excite"])
    activation = str(genotype["activation"])

    def block(stride: int) -> BlockSpec:
        if genotype[f"{name}.kind"] == "basic":
            return BasicBlock(
                width,
                kernel_size,
                stride,
                pre_activation=pre_activation,
                squeeze_ratio=squeeze_ratio,
                activation=activation,
            )
        return Bottleneck(
            expansion * width,
            kernel_size,
            stride,
            pre_activation=pre_activation,
            squeeze_ratio=squeeze_ratio,
            activation=activation,
            inner_ratio=float(genotype[f"{name}.inner"]),
            groups=int(genotype[f"{name}.groups"]),
            stride_first=bool(genotype.get(f"{name}.stride_first")),
        )

    depth = int(genotype[f"{name}.depth"])
    return block(stride), *(block(1) for _ in range(depth - 1))
