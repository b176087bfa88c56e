"""Pooling as blocks: sides, values and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from search_spaces.blocks import AvgPool, MaxPool
from search_spaces.lowering import BlockSpec, GraphBuilder
from search_spaces.modules import build


def pooled(spec: BlockSpec, height: int, width: int) -> tuple[int, ...]:
    builder = GraphBuilder((2, height, width), title="Network")
    return builder.root.block("pool", spec, builder.image).shape


@pytest.mark.parametrize("spec", [MaxPool(), AvgPool()])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 2), (3, 1), (3, 2), (5, 2), (2, 2), (4, 4)])
def test_same_pooling_gives_sides_of_length_over_stride_rounded_up(
    spec: MaxPool | AvgPool, kernel: int, stride: int
) -> None:
    for side in range(4, 12):
        expected = (2, math.ceil(side / stride), math.ceil((side + 3) / stride))
        pool = replace(spec, kernel_size=kernel, stride=stride)
        assert pooled(pool, side, side + 3) == expected


def test_valid_windows_are_whole_and_the_last_one_of_ceil_need_not_be() -> None:
    assert pooled(MaxPool(3, 2, "valid"), 8, 9) == (2, 3, 4)
    assert pooled(MaxPool(3, 2, "ceil"), 8, 9) == (2, 4, 4)
    assert pooled(MaxPool(2, 2, "valid"), 7, 8) == (2, 3, 4)
    assert pooled(MaxPool(2, 2, "ceil"), 7, 8) == (2, 4, 4)


@pytest.mark.parametrize(
    ("spec", "layer"),
    [
        (MaxPool(), nn.MaxPool2d(3, 1, 1)),
        (MaxPool(3, 2, "ceil"), nn.MaxPool2d(3, 2, ceil_mode=True)),
        (AvgPool(3, 2), nn.AvgPool2d(3, 2, 1)),
        (AvgPool(2, 2, "valid"), nn.AvgPool2d(2)),
    ],
)
def test_a_pool_computes_what_torchs_layer_computes(spec: BlockSpec, layer: nn.Module) -> None:
    builder = GraphBuilder((2, 7, 8), title="Network")
    model = build(builder.graph(builder.root.block("pool", spec, builder.image)))
    images = torch.randn(3, 2, 7, 8)
    assert torch.equal(model(images), layer(images))


def test_what_no_pool_can_be_is_refused() -> None:
    with pytest.raises(ValueError, match="padding must be one of same, valid, ceil, got 'full'"):
        MaxPool(padding="full")
    with pytest.raises(ValueError, match="kernel_size must be odd or the stride with padding same"):
        AvgPool(2, 1)
