"""Compound scaling of any network with stages."""

from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from search_spaces import SEARCH_SPACES
from search_spaces.architecture import Architecture, from_document, lower, to_document
from search_spaces.blocks import (
    Bottleneck,
    Classifier,
    ConvNormAct,
    DenseLayer,
    FractalBlock,
    MBConv,
    SqueezeExcite,
    Transition,
)
from search_spaces.compound import Rounding, scale
from search_spaces.reference import REFERENCES
from search_spaces.reference.efficientnet import COEFFICIENTS, efficientnet

B0 = efficientnet("efficientnet_b0")

# As in reference/test_counts.py, which names the source.
RELEASED = {
    "efficientnet_b0": (5_288_548, 385_814_752),
    "efficientnet_b1": (7_794_184, 686_802_832),
    "efficientnet_b2": (9_109_994, 993_561_872),
    "efficientnet_b3": (12_233_232, 1_827_141_392),
    "efficientnet_b4": (19_341_616, 4_393_771_024),
    "efficientnet_b5": (30_389_784, 10_266_384_752),
    "efficientnet_b6": (43_040_704, 19_067_593_536),
    "efficientnet_b7": (66_347_960, 37_745_884_192),
}


def times(base: Architecture, **factors: float) -> Architecture:
    return scale(base, **{"depth": 1.0, "width": 1.0, "resolution": 1.0, **factors})


def network(*stages: tuple[Any, ...], side: int = 16, channels: int = 8) -> Architecture:
    return Architecture("Net", (1, side, side), ConvNormAct(channels), stages, Classifier(10))


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_the_released_coefficients_turn_b0_into_its_family(name: str) -> None:
    released = COEFFICIENTS[name]
    scaled = scale(
        B0,
        depth=released.depth,
        width=released.width,
        resolution=released.resolution / 224,
    )
    graph = lower(scaled)
    assert (graph.params, graph.macs) == RELEASED[name]
    published = efficientnet(name)
    assert replace(scaled, head=replace(scaled.head, dropout=released.dropout)) == published


def test_the_papers_coefficients_cost_more_than_their_formula() -> None:
    # 1.2 * 1.1^2 * 1.15^2 = 1.92; rounded, and with resolution 258, it is 2.57.
    scaled = scale(B0, depth=1.2, width=1.1, resolution=1.15)
    assert scaled.input_shape == (3, 258, 258)
    assert lower(scaled).macs / lower(B0).macs == pytest.approx(2.57, abs=0.005)


@pytest.mark.parametrize("name", [name for name in REFERENCES if "vgg" not in name])
def test_a_published_network_is_scaled_or_refused_by_name(name: str) -> None:
    base = REFERENCES[name]()
    if name in {"alexnet", "googlenet", "siamese_branch"}:
        with pytest.raises(ValueError, match=rf"base must .*, got {base.title}"):
            times(base, depth=1.2)
        return
    assert times(base) == base
    assert from_document(to_document(times(base, depth=1.2))) == times(base, depth=1.2)


def test_fully_connected_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="got VGG, which ends in HiddenClassifier; name a network"):
        times(REFERENCES["vgg16"](), width=1.1)


@pytest.mark.parametrize("space", ["mbconv", "residual", "dense", "mixed", "fractal"])
def test_children_of_every_space_grow_in_each_direction(space: str) -> None:
    module, _, cls = SEARCH_SPACES[space].partition(":")
    made = getattr(import_module(module), cls)((1, 28, 28), 10)
    rng = np.random.default_rng(0)
    for _ in range(6):
        base = made.architecture(made.genome.sample_options(rng))
        own = lower(base)
        for name in ("depth", "width", "resolution"):
            grown = [lower(times(base, **{name: factor})) for factor in (1.3, 2.3)]
            costs = [own.macs, *(graph.macs for graph in grown)]
            assert all(less < more for less, more in pairwise(costs)), (name, base)
            assert (grown[0].params == own.params) == (name == "resolution")
        assert lower(times(base, depth=0.1)).macs <= own.macs


def test_depth_is_rounded_up_and_only_the_first_block_halves_the_map() -> None:
    base = network((MBConv(16, 5, 2),), (MBConv(24, 3, 2), MBConv(24, 3, 1, 3)))
    stages = times(base, depth=1.1).stages
    assert stages == (
        (MBConv(16, 5, 2), MBConv(16, 5, 1)),
        (MBConv(24, 3, 2), MBConv(24, 3, 1, 3), MBConv(24, 3, 1, 3)),
    )


def test_a_product_that_is_whole_but_for_the_last_digit_is_not_rounded_up() -> None:
    base = network((MBConv(16),) * 50)
    assert 50 * 1.1 > 55
    assert len(times(base, depth=1.1).stages[0]) == 55


def test_blocks_are_dropped_from_the_end_down_to_one() -> None:
    base = network((MBConv(16, 3, 2), MBConv(16, 5), MBConv(16, 7)))
    assert times(base, depth=0.5).stages == ((MBConv(16, 3, 2), MBConv(16, 5)),)
    assert times(base, depth=0.01).stages == ((MBConv(16, 3, 2),),)


def test_a_transition_stays_at_the_end_and_does_not_count() -> None:
    layer = DenseLayer(12)
    stages = times(network((layer, layer, Transition(0.5))), depth=1.5, width=1.5).stages
    assert stages == ((DenseLayer(20),) * 3 + (Transition(0.5),),)  # 18 is as near to 16


def test_a_fractal_block_is_repeated_without_its_pool_and_with_its_squeeze_excite() -> None:
    base = network((FractalBlock(16, 2, pool=2), SqueezeExcite(3)))
    assert times(base, depth=2, width=1.5).stages == (
        (
            FractalBlock(24, 2, pool=2),
            SqueezeExcite(5),
            FractalBlock(24, 2, pool=1),
            SqueezeExcite(5),
        ),
    )


def test_groups_keep_dividing_the_channels_inside() -> None:
    base = network((Bottleneck(256, inner_ratio=0.5, groups=32),), channels=64)
    (block,) = times(base, width=1.2).stages[0]
    assert block == Bottleneck(320, inner_ratio=0.5, groups=32)  # of 256, 320: 307 is nearer 320
    lower(times(base, width=1.2))


def test_a_divisor_that_no_groups_fit_is_refused() -> None:
    base = network((Bottleneck(96, inner_ratio=0.5, groups=3),), channels=32)
    with pytest.raises(ValueError, match=r"divisor must leave channels near 105\.6 that fit"):
        scale(base, depth=1, width=1.1, resolution=1, rounding=Rounding(500, 1))


def test_a_stage_of_one_reduction_cell_cannot_become_deeper() -> None:
    base = REFERENCES["darts_v2"]()
    lone = replace(base, stages=(base.stages[0], base.stages[1][:1]))
    with pytest.raises(ValueError, match="must have a normal cell at the end of each stage"):
        times(lone, depth=1.2)


def test_a_stage_of_pools_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="got Net with no block to repeat in stage 1"):
        times(network((MBConv(16),), (Transition(),)))


@pytest.mark.parametrize(
    ("name", "divisor", "step"),
    [
        ("efficientnet_b0", 8, 2),
        ("resnet18", 8, 2),
        ("densenet_40_12", 4, 1),
        ("wrn_28_10", 8, 1),
        ("efficientnet_b7", 8, 6),
    ],
)
def test_rounding_suits_the_base(name: str, divisor: int, step: int) -> None:
    assert Rounding.of(REFERENCES[name]()) == Rounding(divisor, step)


def test_rounding_can_be_stated() -> None:
    assert Rounding.of(B0, divisor=4, step=32) == Rounding(4, 32)
    scaled = scale(B0, depth=1, width=1.1, resolution=1.15, rounding=Rounding(4, 32))
    assert scaled.input_shape == (3, 256, 256)
    assert scaled.stages[1][0].width == 28  # 26.4, and 24 is 9.1 % below, but 28 is nearer
    for wrong in ({"divisor": 0}, {"step": 0}):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            Rounding.of(B0, **wrong)


def test_resolution_goes_to_the_nearest_step_side_by_side() -> None:
    base = replace(network((MBConv(16),)), input_shape=(1, 8, 14))
    assert times(base, resolution=1.25).input_shape == (1, 10, 18)  # 17.5 goes up
    assert times(base, resolution=1.05).input_shape == (1, 8, 15)


def test_channels_are_at_most_a_tenth_below_the_product() -> None:
    base = network((MBConv(16),))
    assert times(base, width=0.7).stages[0][0].width == 16  # 11.2: 8 is too far below
    assert times(base, width=1.2).stages[0][0].width == 24  # 19.2: 16 is too far below


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["depth", "width", "resolution"])
def test_a_factor_out_of_range_is_refused(name: str, factor: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above 0 and finite, got {factor}"):
        times(B0, **{name: factor})
