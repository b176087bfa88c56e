"""MobileNet, first and second version."""

from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, ConvNormAct, DepthwiseSeparable, MBConv

# arXiv:1704.04861, table 1: width and number of blocks; all stages but the first halve the map.
V1_STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))

# arXiv:1801.04381, table 2: expansion, width, number of blocks, stride.
V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v1() -> Architecture:
    """MobileNet of width 1, for 224x224 images in colour and 1,000 classes.

    Source: arXiv:1704.04861, table 1; the last depthwise convolution has a stride of 1, as its
    shapes there demand (the stride of 2 printed beside them is a misprint). Without dropout.
    """
    return Architecture(
        title="MobileNetV1",
        input_shape=(3, 224, 224),
        stem=ConvNormAct(32, stride=2),
        stages=tuple(
            tuple(
                DepthwiseSeparable(width, stride=2 if stage and place == 0 else 1)
                for place in range(depth)
            )
            for stage, (width, depth) in enumerate(V1_STAGES)
        ),
        head=Classifier(1000),
    )


def mobilenet_v2() -> Architecture:
    """MobileNetV2 of width 1, for 224x224 images in colour and 1,000 classes.

    Source: arXiv:1801.04381, table 2; dropout of 0.2 as in torchvision.
    """
    return Architecture(
        title="MobileNetV2",
        input_shape=(3, 224, 224),
        stem=ConvNormAct(32, stride=2, activation="relu6"),
        stages=tuple(
            tuple(
                MBConv(
                    width,
                    stride=stride if place == 0 else 1,
                    expansion=expansion,
                    squeeze_ratio=0.0,
                    activation="relu6",
                )
                for place in range(depth)
            )
            for expansion, width, depth, stride in V2_STAGES
        ),
        head=Classifier(1000, width=1280, dropout=0.2, activation="relu6"),
    )
