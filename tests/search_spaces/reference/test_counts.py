"""Parameters and MACs of every reference network, against published ones and other counts."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import densenet, resnet

from search_spaces.architecture import lower
from search_spaces.blocks import BLOCKS
from search_spaces.modules import build
from search_spaces.primitives import Conv2d
from search_spaces.reference import FAMILIES, REFERENCES

# Parameters, and multiply-accumulates of convolutions and linear layers at the published input.
# Where torchvision has the name: its model and torch.utils.flop_counter, halved (0.29). Else:
# timm 1.0.31's mobilenetv1_100, legacy_seresnet50 and legacy_seresnext50_32x4d, counted so;
# torchvision's ResNet with the widths and groups of resnet101_100d, resnext101_32x4d and
# resnext101_2x64d; the sums in this file for what is for small images, and for resnet200.
# Parameters of FractalNet and DARTS: test_fractalnet.py and test_cell.py; their MACs are our own.
COUNTS = {
    "alexnet": (61_100_840, 714_188_480),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "vgg11_bn": (132_868_840, 7_609_090_048),
    "vgg13_bn": (133_053_736, 11_308_466_176),
    "vgg16_bn": (138_365_992, 15_470_264_320),
    "vgg19_bn": (143_678_248, 19_632_062_464),
    "googlenet": (6_624_904, 1_498_376_192),
    "resnet20": (272_474, 40_813_184),
    "resnet32": (466_906, 69_124_736),
    "resnet44": (661_338, 97_436_288),
    "resnet56": (855_770, 125_747_840),
    "resnet110": (1_730_714, 253_149_824),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnet200": (64_666_152, 15_007_481_856),
    "resnet101_100d": (85_611_336, 15_272_862_720),
    "wide_resnet50_2": (68_883_240, 11_398_021_120),
    "wide_resnet101_2": (126_886_696, 22_753_050_624),
    "wrn_28_10": (36_479_194, 5_243_328_768),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "resnext101_32x4d": (44_177_704, 7_969_996_800),
    "resnext101_2x64d": (84_198_184, 15_123_087_360),
    "resnext101_32x8d": (88_791_336, 16_414_015_488),
    "resnext101_64x4d": (83_455_272, 15_460_270_080),
    "se_resnet50": (28_088_024, 3_860_488_192),
    "se_resnext50_32x4d": (27_559_896, 4_232_994_816),
    "densenet121": (7_978_856, 2_834_161_664),
    "densenet161": (28_681_000, 7_727_907_072),
    "densenet169": (14_149_480, 3_359_843_328),
    "densenet201": (20_013_928, 4_291_365_888),
    "densenet_40_12": (1_019_722, 264_812_928),
    "densenet_bc_100_12": (769_162, 287_929_692),
    "mobilenet_v1": (4_231_976, 568_740_352),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "efficientnet_b0": (5_288_548, 385_814_752),
    "efficientnet_b1": (7_794_184, 686_802_832),
    "efficientnet_b2": (9_109_994, 993_561_872),
    "efficientnet_b3": (12_233_232, 1_827_141_392),
    "efficientnet_b4": (19_341_616, 4_393_771_024),
    "efficientnet_b5": (30_389_784, 10_266_384_752),
    "efficientnet_b6": (43_040_704, 19_067_593_536),
    "efficientnet_b7": (66_347_960, 37_745_884_192),
    "efficientnet_lite0": (4_652_008, 385_187_552),
    "siamese_branch": (38_947_648, 908_623_872),
    "fractalnet_20": (33_724_618, 845_222_912),
    "fractalnet_40": (76_106_634, 2_036_077_568),
    "darts_v2": (3_349_342, 528_359_040),
}

IN_TORCHVISION = [name for name in REFERENCES if hasattr(torchvision.models, name)]

# Parameters and MACs as papers print them, in millions and billions.
PUBLISHED = {
    "resnet20": (0.27, None),  # arXiv:1512.03385, table 6
    "resnet32": (0.46, None),
    "resnet44": (0.66, None),
    "resnet56": (0.85, None),
    "resnet110": (1.7, None),
    "resnet18": (None, 1.8),  # arXiv:1512.03385, table 1
    "resnet34": (None, 3.6),
    "resnet152": (None, 11.3),
    "wrn_28_10": (36.5, None),  # arXiv:1605.07146, table 4
    "se_resnet50": (None, 3.87),  # arXiv:1709.01507, table 2
    "densenet_40_12": (1.0, None),  # arXiv:1608.06993, table 2
    "densenet_bc_100_12": (0.8, None),
    "mobilenet_v1": (4.2, 0.569),  # arXiv:1704.04861, table 8
    "mobilenet_v2": (3.4, 0.300),  # arXiv:1801.04381, table 4
}


@pytest.mark.parametrize("name", REFERENCES)
def test_parameters_and_macs_are_those_of_the_published_networks(name: str) -> None:
    graph = lower(REFERENCES[name]())
    assert (graph.params, graph.macs) == COUNTS[name]


def test_no_name_is_missing_and_none_is_in_two_families() -> None:
    assert set(REFERENCES) == set(COUNTS)
    assert len(REFERENCES) == sum(len(family) for family in FAMILIES.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_near_those_that_papers_print(name: str) -> None:
    params, macs = PUBLISHED[name]
    if params is not None:
        assert COUNTS[name][0] / 1e6 == pytest.approx(params, rel=0.05)
    if macs is not None:
        assert COUNTS[name][1] / 1e9 == pytest.approx(macs, rel=0.05)


@pytest.mark.parametrize("name", IN_TORCHVISION)
def test_torchvision_states_the_same_of_its_weights(name: str) -> None:
    """Parameters, and billions of MACs to three digits."""
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    side = weights.transforms.keywords["crop_size"]
    graph = lower(replace(REFERENCES[name](), input_shape=(3, side, side)))
    assert weights.meta["num_params"] == graph.params
    assert weights.meta["_ops"] == round(graph.macs / 1e9, 3)


# Other counts ----------------------------------------------------------------------------------


def counted(model: nn.Module, side: int, channels: int = 3) -> tuple[int, int]:
    """Parameters and MACs by torch's own count, on the meta device."""
    images = torch.empty(1, channels, side, side, device="meta")
    with FlopCounterMode(display=False) as counter:
        model.eval()(images)
    assert counter.get_total_flops() % 2 == 0
    return sum(values.numel() for values in model.parameters()), counter.get_total_flops() // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_the_module_costs_what_the_graph_says(name: str) -> None:
    graph = lower(REFERENCES[name]())
    with torch.device("meta"):
        model = build(graph)
    channels, height, width = graph.input_shape
    assert height == width
    assert counted(model, height, channels) == COUNTS[name]


ODD_RESNETS: dict[str, dict[str, int]] = {
    "resnet101_100d": {"width_per_group": 100},
    "resnext101_32x4d": {"width_per_group": 4, "groups": 32},
    "resnext101_2x64d": {"width_per_group": 64, "groups": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*IN_TORCHVISION, *ODD_RESNETS])
def test_torchvisions_model_costs_the_same(name: str) -> None:
    options = {"googlenet": {"aux_logits": False, "init_weights": False}}.get(name, {})
    with torch.device("meta"):
        if name in ODD_RESNETS:
            model = resnet.ResNet(resnet.Bottleneck, [3, 4, 23, 3], **ODD_RESNETS[name])
        else:
            model = getattr(torchvision.models, name)(**options)
    assert counted(model, REFERENCES[name]().input_shape[1]) == COUNTS[name]


def pre_activated(widths: list[tuple[int, int, int]], stem: int, *, ratio: int) -> int:
    """Parameters of pre-activated residual stages, stem and head left out.

    Args:
        widths: Width, number and channels inside of the blocks of each stage.
        stem: Channels that the first block reads.
        ratio: 1 for two 3x3 convolutions, 4 for bottlenecks.
    """
    params, before = 0, stem
    for width, depth, inner in widths:
        for place in range(depth):
            if ratio == 1:
                params += 2 * before + 9 * before * width + 2 * width + 9 * width * width
            else:
                params += 2 * before + before * inner + 2 * inner + 9 * inner * inner
                params += 2 * inner + inner * width
            params += before * width if place == 0 and before != width else 0
            before = width
    return params


def test_sums_by_hand_are_the_same_for_pre_activated_networks() -> None:
    stages = [(160, 4, 0), (320, 4, 0), (640, 4, 0)]
    wide = 27 * 16 + pre_activated(stages, 16, ratio=1) + 2 * 640 + 640 * 10 + 10
    assert COUNTS["wrn_28_10"][0] == wide
    stages = [(256, 3, 64), (512, 24, 128), (1024, 36, 256), (2048, 3, 512)]
    deep = 3 * 49 * 64 + pre_activated(stages, 64, ratio=4) + 2 * 2048 + 2048 * 1000 + 1000
    assert COUNTS["resnet200"][0] == deep


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_sums_by_hand_are_the_same_for_residual_networks_of_small_images(depth: int) -> None:
    params, macs, before, side = 27 * 16 + 2 * 16, 27 * 16 * 32 * 32, 16, 32
    for stage, width in enumerate((16, 32, 64)):
        side //= 2 if stage else 1
        for _ in range((depth - 2) // 6):
            shortcut = before * width if before != width else 0
            weights = 9 * before * width + 9 * width * width + shortcut
            params += weights + 2 * width * (3 if shortcut else 2)
            macs += weights * side * side
            before = width
    assert COUNTS[f"resnet{depth}"] == (params + 64 * 10 + 10, macs + 64 * 10)


@pytest.mark.parametrize(
    ("name", "stem", "depth", "bottleneck", "compression"),
    [("densenet_40_12", 16, 12, 0, 1.0), ("densenet_bc_100_12", 24, 16, 48, 0.5)],
)
def test_sums_by_hand_are_the_same_for_dense_networks_of_small_images(
    name: str, stem: int, depth: int, bottleneck: int, compression: float
) -> None:
    params, macs, channels, side = 27 * stem, 27 * stem * 32 * 32, stem, 32
    for stage in range(3):
        for _ in range(depth):
            if bottleneck:
                weights = channels * bottleneck + 9 * bottleneck * 12
                params += 2 * channels + 2 * bottleneck + weights
            else:
                weights = 9 * channels * 12
                params += 2 * channels + weights
            macs += weights * side * side
            channels += 12
        params += 2 * channels
        if stage < 2:
            weights = channels * int(channels * compression)
            params, macs = params + weights, macs + weights * side * side
            channels, side = int(channels * compression), side // 2
    assert COUNTS[name] == (params + 10 * channels + 10, macs + 10 * channels)


@pytest.mark.parametrize(
    ("name", "growth", "stem", "depths"),
    [("densenet_bc_100_12", 12, 24, (16, 16, 16))],
)
def test_a_dense_network_of_small_images_is_torchvisions_but_for_the_stem(
    name: str, growth: int, stem: int, depths: tuple[int, int, int]
) -> None:
    with torch.device("meta"):
        model = densenet.DenseNet(growth, depths, stem, num_classes=10)
    params = sum(values.numel() for values in model.parameters())
    assert COUNTS[name][0] == params - (147 * stem + 2 * stem) + 27 * stem


def test_depths_are_those_in_the_names() -> None:
    """Weighted layers on the longest path: convolutions, and one linear layer."""

    def depth(name: str, count: Callable[[Conv2d, str], bool]) -> int:
        nodes = lower(REFERENCES[name]()).nodes
        return 1 + sum(
            count(node.primitive, node.name) for node in nodes if isinstance(node.primitive, Conv2d)
        )

    def on_path(_: Conv2d, name: str) -> bool:
        return "shortcut" not in name and "squeeze" not in name

    for name in (
        "resnet20",
        "resnet110",
        "resnet18",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnet200",
        "se_resnet50",
    ):
        assert depth(name, on_path) == int(name.rpartition("resnet")[2])
    assert depth("wrn_28_10", on_path) == 26  # its name counts the projections of two stages
    for name in ("densenet121", "densenet161", "densenet169", "densenet201"):
        assert depth(name, on_path) == int(name.removeprefix("densenet"))
    assert depth("densenet_40_12", on_path) == 40
    assert depth("densenet_bc_100_12", on_path) == 100


def test_every_kind_of_block_but_the_small_operations_is_in_some_reference() -> None:
    kinds = {
        scope.kind for make in REFERENCES.values() for scope in lower(make()).scopes if scope.kind
    }
    assert set(BLOCKS) - kinds == {"AvgPool", "FractalColumn", "Skip", "Zero"}
