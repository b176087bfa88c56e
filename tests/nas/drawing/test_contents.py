"""What a drawing shows is what the graph says."""

from collections.abc import Callable

import pytest

from nas.drawing.contents import Contents, contents
from search_spaces.graph import Graph
from search_spaces.lowering import GraphBuilder, ScopeBuilder, Value
from search_spaces.primitives import Activation, Add, Conv2d

NAMES = ("efficientnet_b0", "efficientnet_b7", "dense", "chain", "fractal", "branches")


def groups(shown: Contents) -> list[list[tuple[str, int]]]:
    return [
        [(group.figure.title, group.count) for group in section.groups]
        for section in shown.sections
    ]


def test_a_network_is_stem_stages_and_head_with_equal_blocks_together(
    drawn: dict[str, Graph],
) -> None:
    shown = contents(drawn["efficientnet_b0"])
    assert [section.name for section in shown.sections] == [
        "stem",
        *(f"stages.{place}" for place in range(7)),
        "head",
    ]
    # arXiv:1905.11946, table 1: depths 1, 2, 2, 3, 3, 4, 1.
    first = ["SeparableConv", *["MBConv"] * 6]
    rest = [0, 1, 1, 2, 2, 3, 0]
    assert groups(shown)[1:-1] == [
        [(title, 1), *([("ResidualMBConv", count)] if count else [])]
        for title, count in zip(first, rest, strict=True)
    ]
    assert [section.shape[0] for section in shown.sections] == [
        32, 16, 24, 40, 80, 112, 192, 320, 1000,
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_costs_are_those_of_the_graph(drawn: dict[str, Graph], name: str) -> None:
    graph, shown = drawn[name], contents(drawn[name])
    assert (shown.params, shown.macs) == (graph.params, graph.macs)
    assert sum(section.params for section in shown.sections) == graph.params
    assert sum(section.macs for section in shown.sections) == graph.macs
    for section in shown.sections:
        nodes = [node for node in graph.nodes if f"{node.name}.".startswith(f"{section.name}.")]
        assert section.macs == sum(node.cost.macs for node in nodes)
        assert section.shape == nodes[-1].shape
    for cell in shown.cells:
        assert sum(cell.piece_macs) == cell.macs
        assert sum(piece.macs for piece in cell.figure.pieces) == cell.figure.macs
    counted = {group.cell for section in shown.sections for group in section.groups}
    assert sum(shown.cells[cell].macs for cell in counted) == graph.macs


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_block_is_shown(drawn: dict[str, Graph], name: str) -> None:
    graph, shown = drawn[name], contents(drawn[name])
    titles = {scope.title for scope in graph.scopes if scope.kind and scope.path}
    own = {cell.figure.title for cell in shown.cells}
    opened = {title for cell in shown.cells for title in cell.figure.opened}
    single = {"ConvNormAct"}  # one box wherever it stands
    assert own | opened | single == titles | single
    assert len({cell.figure.pattern for cell in shown.cells}) == len(shown.cells)


def test_a_layer_is_one_box_with_what_follows_it(drawn: dict[str, Graph]) -> None:
    cell = contents(drawn["efficientnet_b0"]).cells[3]
    assert (cell.figure.title, cell.count, cell.figure.opened) == (
        "ResidualMBConv",
        9,
        ("SqueezeExcite",),
    )
    boxes = [(piece.name, [one.op for one in piece.primitives]) for piece in cell.figure.pieces]
    layer = ["conv2d", "batch_norm2d", "activation"]
    assert boxes == [
        ("expand_conv", layer),
        ("depthwise_conv", layer),
        ("squeeze_excite.pool", ["global_avg_pool2d"]),
        ("squeeze_excite.reduce", ["conv2d", "activation"]),
        ("squeeze_excite.expand", ["conv2d", "activation"]),
        ("squeeze_excite.scale", ["multiply"]),
        ("project_conv", ["conv2d", "batch_norm2d"]),
        ("residual", ["add"]),
    ]


def test_a_box_that_begins_with_a_normalisation_ends_with_its_layer(
    drawn: dict[str, Graph],
) -> None:
    (layer,) = (cell for cell in contents(drawn["dense"]).cells if cell.figure.title == "Layer")
    before = ["batch_norm2d", "activation", "conv2d"]
    assert [[one.op for one in piece.primitives] for piece in layer.figure.pieces] == [before] * 2
    assert layer.count == 6 + 24 + 2


def test_what_repeats_is_drawn_once_between_its_ends(drawn: dict[str, Graph]) -> None:
    shown = contents(drawn["dense"])
    figures = [section.groups[0].figure for section in shown.sections[1:-1]]
    assert [[piece.count for piece in figure.pieces] for figure in figures] == [
        [1, 1, 4, 1, 1],
        [1, 1, 22, 1, 1],
        [1, 1, 1, 1],
    ]
    assert figures[0].pieces[2].title == "Layer"
    kinds = [section.groups[0].cell for section in shown.sections[1:-1]]
    assert kinds[0] == kinds[1] != kinds[2]  # six layers and 24 are one picture
    assert [piece.count for piece in contents(drawn["fractal"]).cells[1].figure.pieces] == [1] * 9


def test_blocks_that_differ_in_channels_alone_are_one_group(drawn: dict[str, Graph]) -> None:
    assert groups(contents(drawn["chain"]))[1] == [("ConvNormAct", 3), ("ConvNormAct", 1)]
    (stage,) = contents(drawn["fractal"]).sections[1:-1]
    (group,) = stage.groups
    assert (group.count, group.figure.input_shapes[0][0], group.shape[0]) == (2, 16, 32)


def test_a_value_that_skips_a_section_is_known() -> None:
    builder = GraphBuilder((2, 8, 8), title="Net")

    def act(scope: ScopeBuilder) -> Value:
        return scope.activation("act", scope.inputs[-1], "relu")

    def both(scope: ScopeBuilder) -> Value:
        return scope.add("sum", Add(), *scope.inputs)

    first = builder.root.enter("first", "Act", act, builder.image)
    second = builder.root.enter("second", "Act", act, first)
    third = builder.root.enter("third", "Both", both, first, second)
    loose = builder.root.add("act", Activation("silu"), third)
    last = builder.root.add("sum", Add(), loose, builder.image)
    shown = contents(builder.graph(last))
    assert [(section.name, section.back) for section in shown.sections] == [
        ("first", (1,)),
        ("second", (1,)),
        ("third", (2, 1)),
        ("act", (1, 4)),
    ]
    assert groups(shown)[-1] == [("Activation", 1), ("Add", 1)]


def test_a_long_chain_of_light_operations_is_several_boxes() -> None:
    builder = GraphBuilder((2, 8, 8), title="Net")
    kinds = ("relu", "silu", "sigmoid", "relu6", "hardswish")

    def emit(scope: ScopeBuilder) -> Value:
        x = scope.inputs[-1]
        for place in range(19):
            x = scope.activation(f"n{place}", x, kinds[place**2 % 5])
        return x

    graph = builder.graph(builder.root.enter("block", "Block", emit, builder.image))
    (cell,) = contents(graph).cells
    assert [len(piece.primitives) for piece in cell.figure.pieces] == [8, 8, 3]


def test_equal_blocks_that_read_alike_are_one_section() -> None:
    """As in a network of cells, each of which reads the two before it."""
    builder = GraphBuilder((2, 8, 8), title="Net")

    def both(scope: ScopeBuilder) -> Value:
        old, new = scope.inputs
        kept = scope.add("conv", Conv2d(scope.argument("out_channels", 2)), new)
        return scope.add("sum", Add(), old, kept)

    older = builder.image
    x = builder.root.enter("first", "Both", both, older, older)
    for place in range(7):
        kind = "Other" if place == 4 else "Both"
        older, x = x, builder.root.enter(f"cell{place}", kind, both, older, x)
    shown = contents(builder.graph(builder.root.add("sum", Add(), older, x)))
    assert [(section.name, section.back) for section in shown.sections] == [
        ("first", (1,)),
        ("cell0-3", (2, 1)),
        ("cell4", (1,)),
        ("cell5-6", (2, 1)),
        ("sum", (1,)),
    ]
    assert [section.groups[0].count for section in shown.sections] == [1, 4, 1, 2, 1]
    assert sum(section.macs for section in shown.sections) == shown.macs == 8 * 4 * 64


def one_block(emit: Callable[[ScopeBuilder], Value]) -> Contents:
    """What is shown of a network of one block."""
    builder = GraphBuilder((2, 8, 8), title="Net")
    return contents(builder.graph(builder.root.enter("block", "Block", emit, builder.image)))


def test_blocks_inside_an_opened_block_are_drawn_too() -> None:
    def layer(scope: ScopeBuilder) -> Value:
        return scope.add("second", Conv2d(2), scope.add("first", Conv2d(2), scope.inputs[-1]))

    def inner(scope: ScopeBuilder) -> Value:
        x = scope.enter("one", "Layer", layer, scope.inputs[-1])
        return scope.enter("two", "Layer", layer, x)

    shown = one_block(lambda scope: scope.enter("inner", "Inner", inner, scope.inputs[-1]))
    assert [(cell.figure.title, cell.count) for cell in shown.cells] == [("Block", 1), ("Layer", 2)]
    assert shown.cells[0].figure.opened == ("Inner",)
    names = [piece.name for piece in shown.cells[0].figure.pieces]
    assert names == ["inner.one", "inner.two"]


def test_a_value_that_is_read_twice_ends_its_box() -> None:
    def emit(scope: ScopeBuilder) -> Value:
        conv = scope.add("conv", Conv2d(2), scope.inputs[-1])
        return scope.add("sum", Add(), scope.activation("act", conv, "relu"), conv)

    (cell,) = one_block(emit).cells
    assert [[one.op for one in piece.primitives] for piece in cell.figure.pieces] == [
        ["conv2d"],
        ["activation"],
        ["add"],
    ]


def test_equal_branches_are_all_drawn() -> None:
    def emit(scope: ScopeBuilder) -> Value:
        branches = [scope.add(f"n{place}", Conv2d(2), scope.inputs[-1]) for place in range(7)]
        return scope.add("sum", Add(), *branches)

    (cell,) = one_block(emit).cells
    assert [piece.count for piece in cell.figure.pieces] == [1] * 8
