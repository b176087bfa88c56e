"""The ``mbconv`` space: mobile inverted bottlenecks in stages, around EfficientNet-B0."""

from collections.abc import Sequence
from typing import final

from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.genome import Decision, Genome, Genotype, Option
from search_spaces.reference.efficientnet import B0_STAGES, HEAD_WIDTH, STEM_WIDTH, Stage
from search_spaces.skeleton import check_images, resolutions, widths
from search_spaces.space import SearchSpace

SMALLEST_MAP = 4  # pixels of the last map's shorter side, at the data's own resolution

WIDTH_RATIOS = (0.5, 0.75, 1.0, 1.25)
KERNEL_SIZES = (3, 5, 7)
EXPANSIONS = (1, 3, 6)
SQUEEZE_RATIOS = (0.0, 0.25)
ACTIVATIONS = ("relu6", "hardswish", "silu")
DROPOUT = 0.2


@final
class MBConvSpace(SearchSpace):
    """Networks in the manner of MnasNet and EfficientNet.

    Open are the input resolution, the activation, and for each stage its depth, its width and,
    per stage or per block, the depthwise kernel, the expansion and squeeze-excite.

    The skeleton follows the images. At 224 pixels it is that of EfficientNet-B0, which is a
    point of the space: seven stages and five halvings. Smaller images have as many halvings as
    leave a last map of at least four pixels, the early ones going first, and two stages more
    than halvings, the first ones of B0.

    Args:
        input_shape: ``(channels, height, width)`` of the images; sides of at least 8 pixels.
        num_classes: Number of classes, at least 2.
        granularity: ``stage``: all blocks of a stage share kernel, expansion and squeeze-excite
            (as in MnasNet); ``block``: each block decides for itself.

    Raises:
        ValueError: If a value is out of range.

    Source: MnasNet (arXiv:1807.11626), section 4 and figure 4; EfficientNet (arXiv:1905.11946),
    table 1.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        granularity: str = "stage",
    ) -> None:
        check_images(input_shape, num_classes)
        if granularity not in {"stage", "block"}:
            raise ValueError(f"granularity must be stage or block, got {granularity!r}")
        self._input_shape = input_shape
        self._num_classes = num_classes
        self._per_block = granularity == "block"
        self._stem_stride, self._stages = skeleton(*input_shape[1:])
        self._sizes = resolutions(*input_shape[1:])
        self._genome = Genome(
            (
                Decision.of("resolution", list(self._sizes)),
                Decision.of("activation", ACTIVATIONS),
                *(
                    decision
                    for place, stage in enumerate(self._stages)
                    for decision in self._stage_decisions(f"stage{place}", stage)
                ),
            )
        )

    @property
    def genome(self) -> Genome:
        """Resolution, activation, then the decisions of each stage in turn."""
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        """See the class.

        Raises:
            ValueError: If ``genotype`` is not one of ``genome``.
        """
        self._genome.check(genotype)
        activation = str(genotype["activation"])
        height, width = self._sizes[str(genotype["resolution"])]
        return Architecture(
            title="MBConvNet",
            input_shape=(self._input_shape[0], height, width),
            stem=ConvNormAct(STEM_WIDTH, stride=self._stem_stride, activation=activation),
            stages=tuple(
                self._blocks(genotype, f"stage{place}", stage, activation)
                for place, stage in enumerate(self._stages)
            ),
            head=Classifier(
                self._num_classes,
                width=HEAD_WIDTH // B0_STAGES[-1].width * self._stages[-1].width,
                dropout=DROPOUT,
                activation=activation,
            ),
        )

    def _stage_decisions(self, name: str, stage: Stage) -> list[Decision]:
        depths = [depth for depth in range(stage.depth - 1, stage.depth + 2) if depth >= 1]
        blocks = [block_decisions(f"{name}.block{place}") for place in range(depths[-1])]
        depth = Decision(
            f"{name}.depth",
            tuple(
                Option(depth, _flat(blocks[:depth]) if self._per_block else ()) for depth in depths
            ),
        )
        width = Decision.of(f"{name}.width", widths(stage.width, WIDTH_RATIOS))
        shared = () if self._per_block else block_decisions(name)
        return [width, *shared, depth]

    def _blocks(
        self, genotype: Genotype, name: str, stage: Stage, activation: str
    ) -> tuple[MBConv, ...]:
        return tuple(
            block(
                genotype,
                f"{name}.block{place}" if self._per_block else name,
                width=int(genotype[f"{name}.width"]),
                stride=stage.stride if place == 0 else 1,
                activation=activation,
            )
            for place in range(int(genotype[f"{name}.depth"]))
        )


def skeleton(height: int, width: int) -> tuple[int, tuple[Stage, ...]]:
    """Stride of the stem, and the stages, for images of one size.

    Args:
        height: Pixels, at least 8.
        width: Pixels, at least 8.

    Returns:
        The first rows of ``B0_STAGES`` with the strides that the images can bear. A stage's
        depth is B0's; its width is B0's.
    """
    halvings = 0
    while halvings < 5 and min(height, width) // 2 ** (halvings + 1) >= SMALLEST_MAP:
        halvings += 1
    stages = B0_STAGES[: halvings + 2]
    # The stem (-1) and the rows with stride 2 may halve; the last ones do.
    candidates = [-1, *(place for place, stage in enumerate(stages) if stage.stride == 2)]
    halving = set(candidates[len(candidates) - halvings :])
    strided = tuple(
        stage._replace(stride=2 if place in halving else 1) for place, stage in enumerate(stages)
    )
    return (2 if -1 in halving else 1), strided


def block_decisions(name: str) -> tuple[Decision, ...]:
    """What is open in a block, or in the blocks of a stage: kernel, expansion, squeeze-excite."""
    return (
        Decision.of(f"{name}.kernel", KERNEL_SIZES),
        Decision.of(f"{name}.expansion", EXPANSIONS),
        Decision.of(f"{name}.squeeze_excite", SQUEEZE_RATIOS),
    )


def block(genotype: Genotype, name: str, *, width: int, stride: int, activation: str) -> MBConv:
    """The block that the answers to ``block_decisions`` stand for."""
    return MBConv(
        width=width,
        kernel_size=int(genotype[f"{name}.kernel"]),
        stride=stride,
        expansion=int(genotype[f"{name}.expansion"]),
        squeeze_ratio=float(genotype[f"{name}.squeeze_excite"]),
        activation=activation,
    )


def _flat(blocks: Sequence[tuple[Decision, ...]]) -> tuple[Decision, ...]:
    return tuple(decision for opened in blocks for decision in opened)
