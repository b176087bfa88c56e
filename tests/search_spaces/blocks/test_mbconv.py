"""MBConv and its fused variant against torchvision's blocks."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models.efficientnet import FusedMBConvConfig
from torchvision.models.mobilenetv2 import InvertedResidual

from search_spaces.blocks import MBConv
from search_spaces.graph import Graph
from search_spaces.modules import build

Alone = Callable[..., Graph]
Liven = Callable[[nn.Module], nn.Module]


def compare(graph: Graph, oracle: nn.Module, liven: Liven) -> None:
    """Assert that a block computes what torchvision's does with the same weights, in order."""
    liven(oracle)
    model = build(graph).eval()
    values, names = oracle.state_dict().values(), model.state_dict()
    model.load_state_dict(dict(zip(names, values, strict=True)))
    images = torch.randn(2, *graph.input_shape)
    torch.testing.assert_close(model(images), oracle(images))


@pytest.mark.parametrize("expansion", [1, 4])
@pytest.mark.parametrize(("width", "stride", "kernel"), [(8, 1, 3), (16, 2, 3), (16, 1, 5)])
def test_fused_it_is_torchvisions_fused_block(
    expansion: int, width: int, stride: int, kernel: int, alone: Alone, liven: Liven
) -> None:
    config = FusedMBConvConfig(expansion, kernel, stride, 8, width, 1)
    oracle = config.block(config, 0.0, partial(nn.BatchNorm2d))
    spec = MBConv(width, kernel, stride, expansion, squeeze_ratio=0.0, fused=True)
    compare(alone(spec, channels=8), oracle, liven)


@pytest.mark.parametrize("expansion", [1, 6])
@pytest.mark.parametrize(("width", "stride"), [(6, 1), (8, 2)])
def test_plain_it_is_the_inverted_residual_of_mobilenet_v2(
    expansion: int, width: int, stride: int, alone: Alone, liven: Liven
) -> None:
    oracle = InvertedResidual(6, width, stride, expansion)
    spec = MBConv(width, 3, stride, expansion, squeeze_ratio=0.0, activation="relu6")
    compare(alone(spec), oracle, liven)


@pytest.mark.parametrize(
    ("of", "fused", "squeezed"),
    [("input", False, 2), ("scaled", False, 6), ("input", True, 2), ("scaled", True, 6)],
)
def test_the_squeeze_ratio_refers_to_the_input_or_to_the_channels_inside(
    of: str,
    fused: bool,  # noqa: FBT001 - parametrised
    squeezed: int,
    alone: Alone,
) -> None:
    graph = alone(MBConv(8, expansion=3, squeeze_of=of, fused=fused), channels=8)
    shapes = {node.name: node.shape[0] for node in graph.nodes}
    assert shapes["block.squeeze_excite.reduce"] == squeezed
    assert shapes["block.squeeze_excite.scale"] == 24


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("expansion", [1, 6])
@pytest.mark.parametrize("width", [6, 8])
def test_variants_have_titles_with_a_line_each(
    fused: bool,  # noqa: FBT001 - parametrised
    expansion: int,
    width: int,
    alone: Alone,
) -> None:
    title = alone(MBConv(width, expansion=expansion, fused=fused)).scopes[1].title
    assert title == "MBConv" or title in MBConv.variants
    assert title.startswith("Residual") == (width == 6)
    assert ("Fused" in title) == fused
