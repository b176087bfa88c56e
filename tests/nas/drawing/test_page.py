"""Whole pages: everything on them, nothing over another."""

import random
from xml.dom import minidom

import pytest

from nas.drawing import draw
from nas.drawing.cells import LARGEST
from nas.drawing.contents import contents
from nas.drawing.page import MOST_CELLS, Page, page
from nas.drawing.palette import share_text
from nas.drawing.stages import MOST_GROUPS
from nas.drawing.svg import Box, Rectangle, Text
from nas.limits import format_quantity
from search_spaces.graph import Graph
from search_spaces.lowering import GraphBuilder, ScopeBuilder, Value
from search_spaces.primitives import Activation, Add, Conv2d

NAMES = ("efficientnet_b0", "efficientnet_b7", "dense", "chain", "fractal", "branches")


def texts(done: Page) -> list[Text]:
    return [element for element in done.elements if isinstance(element, Text)]


def overlap(one: Rectangle, other: Rectangle) -> bool:
    return (
        one.left < other.right
        and other.left < one.right
        and one.top < other.bottom
        and other.top < one.bottom
    )


def assert_readable(done: Page) -> None:
    """Every text on the page, and none over another one."""
    places = sorted((text.place, text.content) for text in texts(done))
    for at, (place, content) in enumerate(places):
        assert place.left >= 0, content
        assert place.top >= 0, content
        assert place.right <= done.width, content
        assert place.bottom <= done.height, content
        for other, with_content in places[at + 1 :]:
            assert not overlap(place, other), (content, with_content)


@pytest.mark.parametrize("name", NAMES)
def test_no_text_lies_over_another_or_beyond_the_page(drawn: dict[str, Graph], name: str) -> None:
    assert_readable(page(contents(drawn[name]), name))


@pytest.mark.parametrize("name", NAMES)
def test_text_stays_in_its_box(drawn: dict[str, Graph], name: str) -> None:
    done = page(contents(drawn[name]), name)
    boxes = [one for one in done.elements if isinstance(one, Box) and one.fill != "none"]
    for text in texts(done):
        inside = [
            box
            for box in boxes
            if box.x <= text.x <= box.x + box.width and box.y <= text.y <= box.y + box.height
        ]
        innermost = min(inside, key=lambda box: box.width * box.height)
        assert text.place.left >= innermost.x, text.content
        assert text.place.right <= innermost.x + innermost.width, text.content


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_and_every_kind_of_block_stands_there_with_its_costs(
    drawn: dict[str, Graph], name: str
) -> None:
    graph, shown = drawn[name], contents(drawn[name])
    root = minidom.parseString(draw(graph, name)).documentElement  # noqa: S318 - our own
    written = [node.firstChild.data for node in root.getElementsByTagName("text")]
    assert written[0] == name
    assert f"{graph.params:,} parameters, {graph.macs:,} MACs" in written[1]
    for section in shown.sections:
        for text in (
            section.name,
            "×".join(str(int(side)) for side in section.shape),
            format_quantity(section.params),
            format_quantity(section.macs),
            share_text(section.macs, graph.macs),
        ):
            assert text in written
    for cell in shown.cells:
        assert cell.figure.title in written
        share = share_text(cell.macs, graph.macs)
        sums = f"{format_quantity(cell.params)} parameters, {share} of MACs"
        assert any(text.endswith(sums) for text in written)
        for piece in cell.figure.pieces:
            if any(one.op in {"conv2d", "linear"} for one in piece.primitives):
                assert piece.name in written


def test_layers_say_kernel_stride_channels_and_share(drawn: dict[str, Graph]) -> None:
    written = [text.content for text in texts(page(contents(drawn["efficientnet_b0"]), "b0"))]
    assert {"conv 1×1", "batch norm", "SiLU", "multiply", "add", "linear"} <= set(written)
    assert "96×56×56, stride 2, depthwise" in written
    assert "16 → 24 · inner 96 · kernel 3 · stride 2 · squeeze 4" in written
    assert "ResidualMBConv  ×3" in written


@pytest.mark.parametrize("name", NAMES)
def test_each_layer_has_its_own_share_beside_it(drawn: dict[str, Graph], name: str) -> None:
    shown = contents(drawn[name])
    written = texts(page(shown, name))
    for cell in shown.cells:
        for piece, macs in zip(cell.figure.pieces, cell.piece_macs, strict=True):
            if any(one.op in {"conv2d", "linear"} for one in piece.primitives):
                near = {
                    text.content
                    for label in written
                    if label.content == piece.name
                    for text in written
                    if text.y == label.y - 27 and 0 < text.x - label.x < 300
                }
                assert share_text(macs, cell.macs) in near


def test_a_dense_stage_of_24_layers_is_small(drawn: dict[str, Graph]) -> None:
    done = page(contents(drawn["dense"]), "dense")
    written = [text.content for text in texts(done)]
    assert "22 more Layer" not in written  # drawn for the block of six
    assert "4 more Layer" in written
    assert any("24 × Layer" in text for text in written)
    assert done.height < 3000


@pytest.mark.parametrize("name", NAMES)
def test_the_same_network_is_the_same_bytes(drawn: dict[str, Graph], name: str) -> None:
    assert draw(drawn[name], name) == draw(drawn[name], name)


@pytest.mark.parametrize("name", ["", "<b>&\x1b\u202e" * 3, "x" * 5000, "日" * 400])
def test_any_name_will_do(drawn: dict[str, Graph], name: str) -> None:
    minidom.parseString(draw(drawn["chain"], name))  # noqa: S318 - our own
    assert_readable(page(contents(drawn["chain"]), name))


def tangle(count: int, most: int, title: str = "Tangle") -> Graph:
    """One block in which each sum reads many others."""
    rng = random.Random(0)  # noqa: S311 - no secret
    builder = GraphBuilder((2, 8, 8), title="Net")

    def emit(scope: ScopeBuilder) -> Value:
        values = [scope.inputs[-1]]
        for place in range(count):
            read = rng.sample(values, min(len(values), rng.randint(1, most)))
            read += [] if values[-1] in read else [values[-1]]
            values.append(scope.add(f"n{place}", Add(), *read))
        return values[-1]

    return builder.graph(builder.root.enter("block", title, emit, builder.image))


def test_a_block_too_large_to_draw_is_told_in_words() -> None:
    done = page(contents(tangle(LARGEST + 1, 3)), "tangle")
    written = [text.content for text in texts(done)]
    assert f"{LARGEST + 1} parts, too many to draw:" in written
    assert f"{LARGEST + 1} × add" in written
    assert_readable(done)
    assert_readable(page(contents(tangle(30, 5, "T" * 64)), "tangle"))


def test_what_there_are_too_many_of_is_counted() -> None:
    builder = GraphBuilder((2, 8, 8), title="Net")
    x = builder.image
    for place in range(MOST_CELLS + 5):
        emit = lambda scope: scope.add("conv", Conv2d(2), scope.inputs[-1])  # noqa: E731
        x = builder.root.enter(f"b{place}", f"Kind{place}", emit, x)
    for place in range(MOST_GROUPS + 7):
        x = builder.root.add(f"a{place}", Activation(("relu", "silu")[place % 2]), x)
    done = page(contents(builder.graph(x)), "many")
    written = [text.content for text in texts(done)]
    assert "and 7 more kinds of blocks" in written  # the two activations are kinds too
    assert "and 7 more" in written
    assert_readable(done)
