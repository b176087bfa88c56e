"""Densely connected networks as published: for large images and for CIFAR."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, DenseLayer, Stem, Transition
from search_spaces.lowering import BlockSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """What the members of the family differ in.

    Attributes:
        depths: Layers of each dense block.
        growth: New channels of each layer.
        stem_width: Channels of the first convolution.
        bottleneck: Channels of each layer's 1x1 convolution, in growths; 0 for none.
        compression: Share of the channels that a transition keeps.
        small_images: Whether it is made for 32x32 images and 10 classes, not 224x224 and 1,000.
    """

    depths: tuple[int, ...]
    growth: int
    stem_width: int
    bottleneck: int = 4
    compression: float = 0.5
    small_images: bool = False


# arXiv:1608.06993, table 1 (densenet161: the released code); for CIFAR table 2: a depth of 40 is
# three blocks of 12 layers, one of 100 with bottlenecks three of 16, each of two convolutions.
DENSENETS: Mapping[str, Plan] = {
    "densenet121": Plan((6, 12, 24, 16), 32, 64),
    "densenet161": Plan((6, 12, 36, 24), 48, 96),
    "densenet169": Plan((6, 12, 32, 32), 32, 64),
    "densenet201": Plan((6, 12, 48, 32), 32, 64),
    "densenet_40_12": Plan((12, 12, 12), 12, 16, 0, 1.0, small_images=True),
    "densenet_bc_100_12": Plan((16, 16, 16), 12, 24, small_images=True),
}


def densenet(plan: Plan) -> Architecture:
    """The network of a plan, without dropout.

    Deviation: none for large images; for CIFAR the paper drops 20 % where it does not augment.
    """
    stages: list[tuple[BlockSpec, ...]] = []
    for place, depth in enumerate(plan.depths):
        layers: tuple[BlockSpec, ...] = (DenseLayer(plan.growth, plan.bottleneck),) * depth
        last = place == len(plan.depths) - 1
        stages.append(layers if last else (*layers, Transition(plan.compression)))
    small = plan.small_images
    return Architecture(
        title="DenseNet",
        input_shape=(3, 32, 32) if small else (3, 224, 224),
        stem=Stem(plan.stem_width, 3, 1, norm=False, pool=False)
        if small
        else Stem(plan.stem_width),
        stages=tuple(stages),
        head=Classifier(10 if small else 1000, pre_activation=True),
    )


def members() -> dict[str, Callable[[], Architecture]]:
    """Makers of the family's networks, by name."""
    return {name: partial(densenet, plan) for name, plan in DENSENETS.items()}
