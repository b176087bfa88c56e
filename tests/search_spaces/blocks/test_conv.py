"""Convolution with norm and activation, stems and inception modules: settings beside the usual."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from search_spaces.blocks import ConvNormAct, Inception, Stem
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.primitives import BatchNorm2d

Alone = Callable[..., Graph]


@pytest.mark.parametrize(
    ("spec", "layers"),
    [
        (ConvNormAct(4), ["Conv2d", "BatchNorm2d", "ReLU"]),
        (ConvNormAct(4, norm=False, bias=True), ["Conv2d", "ReLU"]),
        (Stem(4), ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]),
        (Stem(4, norm=False, activation="silu"), ["Conv2d", "MaxPool2d"]),
        (Stem(4, pool=False, activation="silu"), ["Conv2d", "BatchNorm2d", "SiLU"]),
    ],
)
def test_parts_can_be_left_out(spec: ConvNormAct | Stem, layers: list[str], alone: Alone) -> None:
    model = build(alone(spec))
    leaves = [module for module in model.modules() if not list(module.children())]
    assert [type(leaf).__name__ for leaf in leaves] == layers
    assert isinstance(leaves[0], nn.Conv2d)
    assert (leaves[0].bias is not None) == (layers == ["Conv2d", "ReLU"])


def test_padding_in_place_of_same_padding_is_exact(alone: Alone) -> None:
    for padding in (0, 1, 3):
        graph = alone(ConvNormAct(4, 5, 2, padding=padding))
        conv = build(graph).get_submodule("block.conv")
        oracle = nn.Conv2d(6, 4, 5, 2, padding, bias=False)
        oracle.load_state_dict(conv.state_dict())
        images = torch.randn(2, 6, 8, 8)
        assert torch.equal(conv(images), oracle(images))


def test_a_dilated_convolution_looks_further_at_no_cost(alone: Alone) -> None:
    near, far = alone(ConvNormAct(4, 3)), alone(ConvNormAct(4, 3, dilation=2))
    assert (near.params, near.macs, near.output_shape) == (far.params, far.macs, far.output_shape)
    conv = build(far).get_submodule("block.conv")
    oracle = nn.Conv2d(6, 4, 3, padding="same", dilation=2, bias=False)
    oracle.load_state_dict(conv.state_dict())
    images = torch.randn(2, 6, 8, 8)
    torch.testing.assert_close(conv(images), oracle(images))


def test_what_batch_norm_adds_to_the_variance_is_open(alone: Alone) -> None:
    for spec in (ConvNormAct(4, norm_eps=1e-3), Inception(1, 2, 3, 4, 5, 6, norm_eps=1e-3)):
        norms = [node.primitive for node in alone(spec).nodes if node.name.endswith("norm")]
        assert norms
        assert set(norms) == {BatchNorm2d(1e-3)}


def test_an_inception_module_concatenates_its_branches_in_their_order(alone: Alone) -> None:
    graph = alone(Inception(1, 2, 3, 4, 5, 6))
    assert graph.output_shape == (1 + 3 + 5 + 6, 8, 8)
    reads = [graph.nodes[place] for place in graph.nodes[-1].inputs]
    assert [(node.name.split(".")[1], node.shape[0]) for node in reads] == [
        *(("branch1", 1), ("branch2", 3), ("branch3", 5), ("branch4", 6))
    ]
    layers = build(graph)
    kernels = {
        name.removeprefix("block."): layer.kernel_size[0]
        for name, layer in layers.named_modules()
        if isinstance(layer, nn.Conv2d)
    }
    assert list(kernels.values()) == [1, 1, 3, 1, 5, 1]


@pytest.mark.parametrize(("of", "squeezed"), [("input", 3), ("scaled", 7)])
def test_squeeze_excite_scales_what_an_inception_module_concatenates(
    of: str, squeezed: int, alone: Alone
) -> None:
    graph = alone(Inception(1, 2, 3, 4, 5, 6, squeeze_ratio=0.5, squeeze_of=of))
    shapes = {node.name: node.shape[0] for node in graph.nodes}
    assert shapes["block.squeeze_excite.reduce"] == squeezed
    assert graph.nodes[-1].name == "block.squeeze_excite.scale"
