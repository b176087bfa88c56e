"""Residual blocks: what stands where, what a shortcut reads, what squeeze-excite refers to."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.blocks import BasicBlock, Bottleneck
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.primitives import Add, Conv2d

Alone = Callable[..., Graph]
Liven = Callable[[nn.Module], nn.Module]


def names(graph: Graph) -> list[str]:
    return [node.name.removeprefix("block.") for node in graph.nodes[1:]]


def conv(graph: Graph, name: str) -> Conv2d:
    found = next(node.primitive for node in graph.nodes if node.name == f"block.{name}_conv")
    assert isinstance(found, Conv2d)
    return found


def test_a_block_whose_shape_stays_has_the_identity_for_a_shortcut(alone: Alone) -> None:
    graph = alone(BasicBlock(6))
    assert names(graph) == [
        *("first_conv", "first_norm", "first_act", "second_conv", "second_norm", "sum", "act")
    ]
    joined = next(node for node in graph.nodes if isinstance(node.primitive, Add))
    assert joined.inputs[1] == 0


@pytest.mark.parametrize("spec", [BasicBlock(8), BasicBlock(6, stride=2), Bottleneck(8)])
def test_a_block_whose_shape_changes_has_a_projection(spec: Any, alone: Alone) -> None:
    graph = alone(spec)
    shortcut = conv(graph, "shortcut")
    assert (shortcut.out_channels, shortcut.stride) == (spec.width, spec.stride)
    assert "shortcut_norm" in names(graph)
    assert graph.output_shape == (spec.width, 8 // spec.stride, 8 // spec.stride)


@pytest.mark.parametrize("width", [6, 8])
def test_a_pre_activated_block_adds_to_what_it_read(width: int, alone: Alone, liven: Liven) -> None:
    """Written out: an identity reads the input, a projection the pre-activated input."""
    model = liven(build(alone(BasicBlock(width, pre_activation=True)))).get_submodule("block")

    def part(name: str, values: Tensor) -> Tensor:
        output: Tensor = model.get_submodule(name)(values)
        return output

    images = torch.randn(2, 6, 8, 8)
    entry = part("first_norm", images).relu()
    branch = part("second_conv", part("second_norm", part("first_conv", entry)).relu())
    expected = branch + (images if width == 6 else part("shortcut_conv", entry))
    torch.testing.assert_close(model(images), expected)


def test_norm_and_activation_stand_before_each_convolution_where_pre_activated(
    alone: Alone,
) -> None:
    assert names(alone(Bottleneck(8, pre_activation=True, dropout=0.1, stride=2))) == [
        *("reduce_norm", "reduce_act", "reduce_conv", "middle_norm", "middle_act", "middle_conv"),
        *("expand_norm", "expand_act", "dropout", "expand_conv", "shortcut_conv", "sum"),
    ]


@pytest.mark.parametrize("pre_activation", [False, True])
def test_dropout_stands_before_the_last_convolution(
    pre_activation: bool,  # noqa: FBT001 - parametrised
    alone: Alone,
) -> None:
    for spec, last in ((BasicBlock, "second_conv"), (Bottleneck, "expand_conv")):
        parts = names(alone(spec(6, dropout=0.3, pre_activation=pre_activation)))
        assert parts[parts.index("dropout") + 1] == last
        assert parts[parts.index("dropout") - 1].endswith("_act")


@pytest.mark.parametrize(("first", "strides"), [(False, (1, 2, 1)), (True, (2, 1, 1))])
def test_the_middle_convolution_has_the_stride_or_the_first(
    first: bool,  # noqa: FBT001 - parametrised
    strides: tuple[int, int, int],
    alone: Alone,
) -> None:
    graph = alone(Bottleneck(8, stride=2, stride_first=first))
    assert tuple(conv(graph, name).stride for name in ("reduce", "middle", "expand")) == strides


@pytest.mark.parametrize(
    ("ratio", "groups", "inner"), [(0.25, 1, 16), (0.5, 1, 32), (0.5, 32, 32), (1.0, 2, 64)]
)
def test_width_inside_and_cardinality_are_open(
    ratio: float, groups: int, inner: int, alone: Alone
) -> None:
    middle = conv(alone(Bottleneck(64, inner_ratio=ratio, groups=groups)), "middle")
    assert (middle.out_channels, middle.groups) == (inner, groups)


def test_grouped_convolutions_are_paths_of_their_own(alone: Alone, liven: Liven) -> None:
    """ResNeXt (arXiv:1611.05431), figure 3: the sum over paths (a) is the grouped form (c)."""
    groups, inner = 4, 8
    model = liven(build(alone(Bottleneck(6, inner_ratio=inner / 6, groups=groups))))
    block = model.get_submodule("block")
    images = torch.randn(2, 6, 8, 8)
    state = block.state_dict()
    total = torch.zeros(2, 6, 8, 8)
    for path in range(groups):
        own = slice(path * inner // groups, (path + 1) * inner // groups)
        y = images
        for name, weight, padding in (
            ("reduce", state["reduce_conv.weight"][own], 0),
            ("middle", state["middle_conv.weight"][own], 1),
        ):
            y = nn.functional.conv2d(y, weight, padding=padding)
            statistics = (state[f"{name}_norm.running_mean"], state[f"{name}_norm.running_var"])
            scales = (state[f"{name}_norm.weight"], state[f"{name}_norm.bias"])
            norm = (values[own] for values in (*statistics, *scales))
            y = nn.functional.batch_norm(y, *norm).relu()
        total += nn.functional.conv2d(y, state["expand_conv.weight"][:, own])
    expected = (block.get_submodule("expand_norm")(total) + images).relu()
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize(("of", "squeezed"), [("scaled", 4), ("input", 2)])
def test_squeeze_excite_scales_the_branch_and_its_ratio_refers_to_either_end(
    of: str, squeezed: int, alone: Alone
) -> None:
    graph = alone(BasicBlock(16, squeeze_ratio=0.25, squeeze_of=of), channels=8)
    reduce = next(node for node in graph.nodes if node.name == "block.squeeze_excite.reduce")
    assert reduce.shape[0] == squeezed
    parts = names(graph)
    assert parts.index("second_norm") < parts.index("squeeze_excite.scale") < parts.index("sum")


def test_squeeze_excite_has_one_channel_at_least(alone: Alone) -> None:
    graph = alone(BasicBlock(6, squeeze_ratio=0.01))
    assert next(n for n in graph.nodes if n.name == "block.squeeze_excite.reduce").shape[0] == 1


@pytest.mark.parametrize(
    ("spec", "title"),
    [
        (BasicBlock(6), "BasicBlock"),
        (BasicBlock(8, pre_activation=True), "ProjectedPreActBasicBlock"),
        (Bottleneck(8), "ProjectedBottleneck"),
        (Bottleneck(6, pre_activation=True), "PreActBottleneck"),
    ],
)
def test_variants_have_titles_with_a_line_each(spec: Any, title: str, alone: Alone) -> None:
    assert alone(spec).scopes[1].title == title
    assert title == type(spec).__name__ or title in spec.variants
