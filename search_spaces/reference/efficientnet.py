"""EfficientNet B0 to B7 and Lite0 as released."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, ConvNormAct, MBConv


class Stage(NamedTuple):
    """One row of the table: blocks of one kind, the first with the stride."""

    expansion: int
    width: int
    depth: int
    kernel_size: int
    stride: int


# arXiv:1905.11946, table 1: EfficientNet-B0 (its strides stand one row higher there).
B0_STAGES = (
    Stage(1, 16, 1, 3, 1),
    Stage(6, 24, 2, 3, 2),
    Stage(6, 40, 2, 5, 2),
    Stage(6, 80, 3, 3, 2),
    Stage(6, 112, 3, 5, 1),
    Stage(6, 192, 4, 5, 2),
    Stage(6, 320, 1, 3, 1),
)
STEM_WIDTH = 32
HEAD_WIDTH = 1280


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Released multipliers: width and depth relative to B0, resolution in pixels."""

    width: float
    depth: float
    resolution: int
    dropout: float


# The released code's table; not the powers of the paper's alpha, beta and gamma.
COEFFICIENTS: Mapping[str, Coefficients] = {
    "efficientnet_b0": Coefficients(1.0, 1.0, 224, 0.2),
    "efficientnet_b1": Coefficients(1.0, 1.1, 240, 0.2),
    "efficientnet_b2": Coefficients(1.1, 1.2, 260, 0.3),
    "efficientnet_b3": Coefficients(1.2, 1.4, 300, 0.3),
    "efficientnet_b4": Coefficients(1.4, 1.8, 380, 0.4),
    "efficientnet_b5": Coefficients(1.6, 2.2, 456, 0.4),
    "efficientnet_b6": Coefficients(1.8, 2.6, 528, 0.5),
    "efficientnet_b7": Coefficients(2.0, 3.1, 600, 0.5),
}


def round_channels(channels: float, *, divisor: int = 8) -> int:
    """Nearest multiple of ``divisor``, never more than 10 % below ``channels``.

    Args:
        channels: Scaled number of channels, > 0, not yet whole.
        divisor: What the hardware likes channels to be a multiple of.

    Source: EfficientNet (arXiv:1905.11946), rounding of the released code.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def efficientnet(name: str, *, num_classes: int = 1000) -> Architecture:
    """One member of the family.

    Args:
        name: ``efficientnet_b0`` to ``efficientnet_b7``.
        num_classes: Number of classes, at least 1.

    Raises:
        KeyError: If there is no such member.

    Deviation: batch norms have PyTorch's eps of 1e-5 throughout; the released B5 to B7 in
    torchvision have 1e-3. Stochastic depth belongs to the training recipe, not to the network.
    """
    scale = COEFFICIENTS[name]
    stages = []
    for row in B0_STAGES:
        width = round_channels(row.width * scale.width)
        depth = ceil(row.depth * scale.depth)
        stages.append(
            tuple(
                MBConv(width, row.kernel_size, row.stride if place == 0 else 1, row.expansion)
                for place in range(depth)
            )
        )
    return Architecture(
        title="EfficientNet",
        input_shape=(3, scale.resolution, scale.resolution),
        stem=ConvNormAct(round_channels(STEM_WIDTH * scale.width), stride=2, activation="silu"),
        stages=tuple(stages),
        head=Classifier(
            num_classes,
            width=4 * round_channels(B0_STAGES[-1].width * scale.width),
            dropout=scale.dropout,
            activation="silu",
        ),
    )


def efficientnet_lite0() -> Architecture:
    """EfficientNet-Lite0, for 224x224 images in colour and 1,000 classes.

    B0 without squeeze-excite and with ReLU6, for devices that compute in whole numbers. Batch
    norms add 1e-3 and paddings are TensorFlow's, as the released weights ask for.

    Source: the released EfficientNet-Lite, which has no paper; 4,652,008 parameters.
    """
    norm_eps, activation = 1e-3, "relu6"
    return Architecture(
        title="EfficientNetLite",
        input_shape=(3, 224, 224),
        stem=ConvNormAct(
            STEM_WIDTH, stride=2, activation=activation, norm_eps=norm_eps, tight=True
        ),
        stages=tuple(
            tuple(
                MBConv(
                    row.width,
                    row.kernel_size,
                    row.stride if place == 0 else 1,
                    row.expansion,
                    squeeze_ratio=0.0,
                    activation=activation,
                    norm_eps=norm_eps,
                    tight=True,
                )
                for place in range(row.depth)
            )
            for row in B0_STAGES
        ),
        head=Classifier(
            1000, width=HEAD_WIDTH, dropout=0.2, activation=activation, norm_eps=norm_eps
        ),
    )
