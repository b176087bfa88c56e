"""The functional model API: 'same' padding, scopes, names that travel, and what is refused."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional

from search_spaces.arguments import Argument
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.graph import MAX_DEPTH, MAX_INPUTS, MAX_NODES, Graph
from search_spaces.identity import digest
from search_spaces.lowering import BlockSpec, GraphBuilder, ScopeBuilder, Value, chain
from search_spaces.modules import build
from search_spaces.primitives import (
    Activation,
    Add,
    Concat,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    Linear,
    ZeroPad2d,
)
from search_spaces.source import model_source


def network(emit: Callable[[ScopeBuilder, Value], Value]) -> Graph:
    builder = GraphBuilder((4, 8, 8), title="Network")
    return builder.graph(emit(builder.root, builder.image))


@dataclass(frozen=True, slots=True)
class Fork(BlockSpec):
    """Adds a convolution of the newest input to one of the input before."""

    width: int

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        width = scope.argument("out_channels", self.width)
        older = scope.conv("older", inputs[-2], width)
        return scope.add("join", Add(), older, scope.conv("newer", inputs[-1], width))


@pytest.mark.parametrize("kernel", range(1, 8))
def test_same_padding_gives_sides_of_length_over_stride_rounded_up(kernel: int) -> None:
    for stride in (1, 2, 3):
        for dilation in (1, 2):
            for side in range(5, 13):
                builder = GraphBuilder((2, side, 17 - side), title="Network")
                x = builder.root.conv(
                    "conv", builder.image, 3, kernel, stride=stride, dilation=dilation
                )
                expected = (3, math.ceil(side / stride), math.ceil((17 - side) / stride))
                assert x.shape == expected
                with torch.device("meta"):
                    model = build(builder.graph(x))
                    images = torch.empty(1, 2, side, 17 - side)
                assert tuple(model(images).shape[1:]) == expected


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("kernel", range(1, 8))
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_computes_what_torch_computes_at_stride_one(
    kernel: int, dilation: int
) -> None:
    builder = GraphBuilder((2, 7, 6), title="Network")
    model = build(
        builder.graph(builder.root.conv("conv", builder.image, 4, kernel, dilation=dilation))
    )
    oracle = nn.Conv2d(2, 4, kernel, padding="same", dilation=dilation, bias=False)
    oracle.load_state_dict({"weight": model.state_dict()["conv.weight"]})
    images = torch.randn(2, 2, 7, 6)
    torch.testing.assert_close(model(images), oracle(images))


def test_only_a_lopsided_window_needs_a_layer_of_its_own_for_padding() -> None:
    def pads(kernel: int, dilation: int) -> list[ZeroPad2d]:
        graph = network(lambda root, x: root.conv("conv", x, 4, kernel, dilation=dilation))
        return [node.primitive for node in graph.nodes if isinstance(node.primitive, ZeroPad2d)]

    assert pads(3, 1) == pads(5, 2) == pads(2, 2) == pads(1, 1) == []
    assert pads(2, 1) == [ZeroPad2d(0, 1)]
    assert pads(4, 1) == [ZeroPad2d(1, 2)]
    assert pads(4, 3) == [ZeroPad2d(4, 5)]


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("sides", [(5, 5), (6, 6), (7, 12), (8, 5), (6, 9)])
def test_tight_padding_is_what_the_windows_reach_and_sits_where_tensorflow_has_it(
    kernel: int, stride: int, sides: tuple[int, int]
) -> None:
    builder = GraphBuilder((2, *sides), title="Network")
    x = builder.root.conv("conv", builder.image, 4, kernel, stride=stride, tight=True)
    model = build(builder.graph(x))
    images = torch.randn(2, 2, *sides)
    # TensorFlow's documentation of "SAME" padding.
    rows, columns = (
        max((-(-length // stride) - 1) * stride + kernel - length, 0) for length in sides
    )
    before_and_after = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    padded = functional.pad(images, before_and_after)
    weight = model.state_dict()["conv.weight"]
    torch.testing.assert_close(model(images), functional.conv2d(padded, weight, stride=stride))


def test_a_block_names_its_inputs_and_its_output_in_the_words_of_the_scope_around() -> None:
    @dataclass(frozen=True, slots=True)
    class Outer(BlockSpec):
        def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
            hidden = scope.argument("hidden", 2 * inputs[-1].channels)
            x = scope.block("inner", ConvNormAct(hidden), inputs[-1])
            assert isinstance(x.channels, Argument)
            assert (x.channels.expression, x.channels.scope) == ("hidden", "outer")
            return scope.conv("last", x, x.channels)

    graph = network(lambda root, x: root.block("outer", Outer(), x))
    inner = next(scope for scope in graph.scopes if scope.path == "outer.inner")
    expressions = {
        name: value.expression
        for name, value in inner.arguments.items()
        if isinstance(value, Argument)
    }
    assert expressions == {"in_channels": "in_channels", "out_channels": "hidden"}
    assert [scope.path for scope in graph.scopes] == ["", "outer", "outer.inner"]


def test_a_block_may_be_handed_one_value_twice() -> None:
    def once(root: ScopeBuilder, x: Value) -> Value:
        y = root.activation("act", x, "relu")
        return root.block("second", Fork(6), root.block("first", Fork(6), x, y), y)

    def twice(root: ScopeBuilder, x: Value) -> Value:
        y = root.activation("act", x, "relu")
        return root.block("second", Fork(6), root.block("first", Fork(6), y, y), y)

    assert network(once).scopes[1].arguments.keys() == {
        "in_channels",
        "previous_channels",
        "out_channels",
    }
    assert network(twice).scopes[1].arguments.keys() == {"in_channels", "out_channels"}
    assert "self.first(x)" in model_source(network(twice)).replace("self.act(x)", "x")
    assert build(network(twice))(torch.zeros(1, 4, 8, 8)).shape == (1, 6, 8, 8)


def test_a_chain_threads_blocks_one_after_the_other() -> None:
    specs = (ConvNormAct(6), ConvNormAct(8, stride=2))
    graph = network(lambda root, x: root.sequence("body", chain(specs), x))
    assert graph.output_shape == (8, 4, 4)
    assert [scope.path for scope in graph.scopes] == ["", "body", "body.0", "body.1"]


def test_faults_of_shape_name_the_place() -> None:
    with pytest.raises(ValueError, match=r"^body\.1\.linear: linear needs a vector, got the map"):
        network(
            lambda root, x: root.sequence(
                "body",
                lambda scope: scope.enter(
                    "1", "Odd", lambda inner: inner.add("linear", Linear(2), *inner.inputs), x
                ),
                x,
            )
        )


def leaves_a_value_unread(root: ScopeBuilder, x: Value) -> Value:
    root.conv("lost", x, 3)
    return root.conv("kept", x, 3)


def returns_an_earlier_value(root: ScopeBuilder, x: Value) -> Value:
    y = root.conv("first", x, 3)
    root.conv("second", y, 3)
    return y


def takes_a_name_twice(root: ScopeBuilder, x: Value) -> Value:
    return root.conv("conv", root.conv("conv", x, 3), 3)


def returns_an_earlier_value_of_a_block(root: ScopeBuilder, x: Value) -> Value:
    def emit(scope: ScopeBuilder) -> Value:
        y = scope.conv("first", scope.inputs[-1], 3)
        scope.conv("second", y, 3)
        return y

    return root.enter("block", "Block", emit, x)


def names_an_argument_of_a_sequence(root: ScopeBuilder, x: Value) -> Value:
    return root.sequence("body", lambda scope: scope.conv("0", x, scope.argument("width", 3)), x)


def names_an_argument_of_the_network(root: ScopeBuilder, x: Value) -> Value:
    return root.conv("conv", x, root.argument("width", 3))


def gives_one_argument_two_values(root: ScopeBuilder, x: Value) -> Value:
    def emit(scope: ScopeBuilder) -> Value:
        return scope.conv("conv", x, scope.argument("width", 3) + scope.argument("width", 4))

    return root.enter("block", "Block", emit, x)


def nests_too_deeply(scope: ScopeBuilder, x: Value) -> Value:
    return scope.enter("block", "Block", lambda inner: nests_too_deeply(inner, x), x)


def reads_too_much(root: ScopeBuilder, x: Value) -> Value:
    return root.add("sum", Add(), *[x] * (MAX_INPUTS + 1))


def has_two_inputs(root: ScopeBuilder, x: Value) -> Value:
    from search_spaces.primitives import Input  # noqa: PLC0415 - nobody else adds an input

    return root.add("join", Concat(), x, root.add("more", Input(4, 8, 8)))


@pytest.mark.parametrize(
    ("emit", "message"),
    [
        (leaves_a_value_unread, "lost: its output is read by nobody"),
        (returns_an_earlier_value, "the network must return what was added last"),
        (takes_a_name_twice, "conv: name is taken"),
        (returns_an_earlier_value_of_a_block, "block: a block must return what it added last"),
        (names_an_argument_of_a_sequence, "body: a sequence has no arguments"),
        (names_an_argument_of_the_network, "the network as a whole has no arguments"),
        (gives_one_argument_two_values, "block: argument width is 3 already"),
        (nests_too_deeply, f"scopes must be at most {MAX_DEPTH} inside each other"),
        (reads_too_much, f"sum: must read at most {MAX_INPUTS} values, got {MAX_INPUTS + 1}"),
        (has_two_inputs, "more: a graph has one input"),
    ],
)
def test_faults_of_a_block_are_told(
    emit: Callable[[ScopeBuilder, Value], Value], message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        network(emit)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["", "Conv", "a b", "a.b", "class", "_x", "9x", "forward", "type"])
def test_names_that_no_module_can_have_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        network(lambda root, x: root.conv(name, x, 3))


def test_a_network_too_long_is_refused_while_it_is_built() -> None:
    builder = GraphBuilder((1, 2, 2), title="Network")
    x = builder.image
    for position in range(MAX_NODES - 1):
        x = builder.root.add(f"n{position}", Identity(), x)
    with pytest.raises(ValueError, match=f"at most {MAX_NODES} nodes"):
        builder.root.add("more", Identity(), x)


def test_what_a_block_emits_is_what_its_primitives_say() -> None:
    def block(root: ScopeBuilder, x: Value) -> Value:
        return root.block("head", Classifier(5, width=6, activation="silu"), x)

    def by_hand(root: ScopeBuilder, x: Value) -> Value:
        x = root.add("a", Activation("silu"), root.norm("b", root.add("c", Conv2d(6), x)))
        return root.add(
            "d", Linear(5), root.add("e", Flatten(), root.add("f", GlobalAvgPool2d(), x))
        )

    assert digest(network(block)) == digest(network(by_hand))
