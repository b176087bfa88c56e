"""Residual networks as published: ResNet, wide ones, ResNeXt, with squeeze-excite."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from search_spaces.architecture import Architecture
from search_spaces.blocks import BasicBlock, Bottleneck, Classifier, Stem

# arXiv:1512.03385, table 1.
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What the members of the family differ in.

    Attributes:
        depths: Blocks of each stage.
        bottleneck: Whether blocks are bottlenecks, four times as wide.
        groups: Groups of the convolutions inside (cardinality).
        group_width: Channels of one group in the first stage.
        pre_activation: Whether blocks are pre-activated.
        squeeze_ratio: Squeezed channels as a share of the block's output; 0 for none.
        stride_first: Whether a bottleneck's first convolution has the stride.
    """

    depths: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    group_width: int = 64
    pre_activation: bool = False
    squeeze_ratio: float = 0.0
    stride_first: bool = False


# arXiv:1512.03385, table 1; resnet200: arXiv:1603.05027, table 5, and the released code;
# resnet101_100d: "ResNet-101, wider, 1 x 100d" of arXiv:1611.05431, table 4.
RESNETS: Mapping[str, Plan] = {
    "resnet18": Plan((2, 2, 2, 2), bottleneck=False),
    "resnet34": Plan((3, 4, 6, 3), bottleneck=False),
    "resnet50": Plan((3, 4, 6, 3)),
    "resnet101": Plan((3, 4, 23, 3)),
    "resnet152": Plan((3, 8, 36, 3)),
    "resnet200": Plan((3, 24, 36, 3), pre_activation=True),
    "resnet101_100d": Plan((3, 4, 23, 3), group_width=100),
    # arXiv:1605.07146, table 8, and the released code.
    "wide_resnet50_2": Plan((3, 4, 6, 3), group_width=128),
    "wide_resnet101_2": Plan((3, 4, 23, 3), group_width=128),
}

SMALL = (20, 32, 44, 56, 110)  # layers; arXiv:1512.03385, table 6

# arXiv:1611.05431, tables 3 and 4; resnext101_32x8d as released with PyTorch.
RESNEXTS: Mapping[str, Plan] = {
    "resnext50_32x4d": Plan((3, 4, 6, 3), groups=32, group_width=4),
    "resnext101_32x4d": Plan((3, 4, 23, 3), groups=32, group_width=4),
    "resnext101_2x64d": Plan((3, 4, 23, 3), groups=2, group_width=64),
    "resnext101_32x8d": Plan((3, 4, 23, 3), groups=32, group_width=8),
    "resnext101_64x4d": Plan((3, 4, 23, 3), groups=64, group_width=4),
}

# arXiv:1709.01507, table 1: squeezed to a sixteenth.
SENETS: Mapping[str, Plan] = {
    "se_resnet50": Plan((3, 4, 6, 3), squeeze_ratio=1 / 16, stride_first=True),
    "se_resnext50_32x4d": Plan((3, 4, 6, 3), groups=32, group_width=4, squeeze_ratio=1 / 16),
}


def resnet(plan: Plan, *, title: str) -> Architecture:
    """The network of a plan, for 224x224 images in colour and 1,000 classes.

    Args:
        plan: What sets it apart.
        title: Name of its class in generated source.

    Deviations: the second of three convolutions has the stride (ResNet 1.5) unless the plan says
    otherwise. Pre-activated, the first norm stands behind the stem's pool, not before it. The
    pool pads by one pixel on every side, also in the networks that were released in Caffe, where
    windows reach beyond the far edges instead.
    """
    stages = tuple(
        tuple(
            _block(plan, stage, stride=2 if stage and place == 0 else 1) for place in range(depth)
        )
        for stage, depth in enumerate(plan.depths)
    )
    return Architecture(
        title=title,
        input_shape=(3, 224, 224),
        stem=Stem(norm=not plan.pre_activation),
        stages=stages,
        head=Classifier(1000, pre_activation=plan.pre_activation),
    )


def _block(plan: Plan, stage: int, *, stride: int) -> BasicBlock | Bottleneck:
    if not plan.bottleneck:
        return BasicBlock(WIDTHS[stage], stride=stride)
    return Bottleneck(
        EXPANSION * WIDTHS[stage],
        stride=stride,
        pre_activation=plan.pre_activation,
        squeeze_ratio=plan.squeeze_ratio,
        inner_ratio=plan.groups * plan.group_width / (EXPANSION * WIDTHS[0]),
        groups=plan.groups,
        stride_first=plan.stride_first,
    )


def small_resnet(depth: int) -> Architecture:
    """A residual network of basic blocks for 32x32 images in colour and 10 classes.

    Source: ResNet (arXiv:1512.03385), section 4.2: 3 stages of n blocks, 6n + 2 layers.

    Args:
        depth: Layers, 6n + 2.

    Deviation: where channels double, shortcuts are projections, as in the networks for larger
    images; there they are the input with channels of zeros. That is 2,752 parameters more.
    """
    count = (depth - 2) // 6
    return Architecture(
        title="SmallResNet",
        input_shape=(3, 32, 32),
        stem=Stem(16, 3, 1, pool=False),
        stages=tuple(
            tuple(BasicBlock(width, stride=stride if place == 0 else 1) for place in range(count))
            for width, stride in ((16, 1), (32, 2), (64, 2))
        ),
        head=Classifier(10),
    )


def wrn_28_10() -> Architecture:
    """The wide residual network of 28 layers, ten times as wide, for 32x32 images in colour.

    Source: WRN (arXiv:1605.07146), table 1 with N = 4 and k = 10, 10 classes; 36.5 M parameters
    (table 4). Without dropout, as there.
    """
    factor, depth = 10, 4
    return Architecture(
        title="WideResNet",
        input_shape=(3, 32, 32),
        stem=Stem(16, 3, 1, norm=False, pool=False),
        stages=tuple(
            tuple(
                BasicBlock(factor * width, stride=stride if place == 0 else 1, pre_activation=True)
                for place in range(depth)
            )
            for width, stride in ((16, 1), (32, 2), (64, 2))
        ),
        head=Classifier(10, pre_activation=True),
    )


def resnets() -> dict[str, Callable[[], Architecture]]:
    """Makers of the plain and the wide ones, by name."""
    small = {f"resnet{depth}": partial(small_resnet, depth) for depth in SMALL}
    return {**small, **_members(RESNETS, "ResNet"), "wrn_28_10": wrn_28_10}


def resnexts() -> dict[str, Callable[[], Architecture]]:
    """Makers of those with groups, by name."""
    return _members(RESNEXTS, "ResNeXt")


def senets() -> dict[str, Callable[[], Architecture]]:
    """Makers of those with squeeze-excite, by name."""
    return _members(SENETS, "SENet")


def _members(plans: Mapping[str, Plan], title: str) -> dict[str, Callable[[], Architecture]]:
    return {name: partial(resnet, plan, title=title) for name, plan in plans.items()}
