"""The ``dense`` space: stages whose layers append channels, around DenseNet."""

from typing import final

from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, DenseLayer, Transition
from search_spaces.genome import Decision, Genome, Genotype
from search_spaces.lowering import BlockSpec
from search_spaces.skeleton import KERNEL_SIZES, check_images, kernels, resolutions, staged
from search_spaces.space import SearchSpace

ACTIVATIONS = ("relu", "hardswish", "silu")
BOTTLENECKS = (0, 4)
SQUEEZE_RATIOS = (0.0, 0.25)
COMPRESSIONS = (0.5, 1.0)

# By the scale of the skeleton; the last row holds the four networks of arXiv:1608.06993, table 1,
# the one before it those for CIFAR of 40 layers and, with bottlenecks, of 100.
LAYERS = (
    ((2, 4, 6, 8),) * 4,
    ((4, 8, 12, 16),) * 4,
    ((3, 6), (6, 12), (12, 24, 32, 36, 48), (8, 16, 24, 32)),
)
GROWTHS = ((4, 8, 12), (8, 12, 16, 24), (12, 24, 32, 48))
STEM_WIDTHS = ((8, 16, 24), (16, 24, 48), (32, 64, 96))


@final
class DenseSpace(SearchSpace):
    """Networks in the manner of DenseNet.

    Open are the input resolution, the activation, the width of the stem, for each stage its
    layers, their growth, whether they have bottlenecks, their kernel on maps of at least 8
    pixels and squeeze-excite, and for each transition its compression.

    The skeleton follows the images; see ``skeleton.Staged``. A transition halves the map between
    two stages. At 224 pixels it is that of DenseNet: densenet121, densenet161, densenet169 and
    densenet201 are points of the space. At 32 pixels it is that of DenseNet for CIFAR:
    densenet_40_12 and densenet_bc_100_12 are points. Deviation: stages may differ in growth.

    Args:
        input_shape: ``(channels, height, width)`` of the images; sides of at least 8 pixels.
        num_classes: Number of classes, at least 2.

    Raises:
        ValueError: If a value is out of range.

    Source: DenseNet (arXiv:1608.06993), section 3 and tables 1 and 2.
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
                Decision.of("stem.width", STEM_WIDTHS[self._staged.scale]),
                *(
                    decision
                    for place, side in enumerate(self._staged.sides)
                    for decision in self._decisions(place, side)
                ),
            )
        )

    @property
    def genome(self) -> Genome:
        """Resolution, activation, stem, then the decisions of each stage in turn."""
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
            title="DenseNet",
            input_shape=(self._channels, height, width),
            stem=self._staged.stem(
                int(genotype["stem.width"]),
                norm=self._staged.halvings > 0,  # those for CIFAR begin with a bare convolution
                activation=activation,
            ),
            stages=tuple(self._stage(genotype, place) for place in range(len(self._staged.sides))),
            head=Classifier(self._num_classes, activation=activation, pre_activation=True),
        )

    def _decisions(self, place: int, side: int) -> tuple[Decision, ...]:
        name, scale = f"stage{place}", self._staged.scale
        decisions = stage_decisions(name, LAYERS[scale][place], growths=GROWTHS[scale], side=side)
        if place == len(self._staged.sides) - 1:
            return decisions
        return *decisions, Decision.of(f"{name}.compression", COMPRESSIONS)

    def _stage(self, genotype: Genotype, place: int) -> tuple[BlockSpec, ...]:
        layers = stage_layers(genotype, f"stage{place}")
        compression = genotype.get(f"stage{place}.compression")
        if compression is None:
            return layers
        return *layers, Transition(float(compression), activation=str(genotype["activation"]))


def stage_decisions(
    name: str, layers: tuple[int, ...], *, growths: tuple[int, ...], side: int
) -> tuple[Decision, ...]:
    """What is open in a stage of dense layers.

    Args:
        name: What the decisions' names begin with.
        layers: Numbers of layers.
        growths: Numbers of channels that each layer appends.
        side: Shorter side of the map in pixels.
    """
    return (
        Decision.of(f"{name}.layers", layers),
        Decision.of(f"{name}.growth", growths),
        Decision.of(f"{name}.bottleneck", BOTTLENECKS),
        *kernels(name, side),
        Decision.of(f"{name}.squeeze_excite", SQUEEZE_RATIOS),
    )


def stage_layers(genotype: Genotype, name: str) -> tuple[BlockSpec, ...]:
    """The layers that the answers to ``stage_decisions``, and to ``activation``, stand for."""
    layer = DenseLayer(
        int(genotype[f"{name}.growth"]),
        int(genotype[f"{name}.bottleneck"]),
        int(genotype.get(f"{name}.kernel") or KERNEL_SIZES[0]),
        squeeze_ratio=float(genotype[f"{name}.squeeze_excite"]),
        activation=str(genotype["activation"]),
    )
    return (layer,) * int(genotype[f"{name}.layers"])
