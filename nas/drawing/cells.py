"""The cell view: one distinct kind of block as a small graph."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from nas.drawing.contents import Cell
from nas.drawing.figures import Figure, Piece
from nas.drawing.layered import Layout, layered
from nas.drawing.palette import (
    BAR,
    BLOCK,
    FRAME,
    INK,
    LIGHT,
    LINE,
    MUTED,
    PANEL,
    colour,
    details,
    shape_text,
    share_text,
    words,
)
from nas.drawing.stages import tag
from nas.drawing.svg import Box, Element, Line, Text, shortened, text_width
from nas.limits import format_quantity
from search_spaces.primitives import Join

MARGIN, COLUMN, GAP = 16.0, 300.0, 16.0
_HEADER = 74.0
LARGEST = 100  # boxes that are drawn; a larger block is told in words
_LEAST_BOX, _LONGEST = 150.0, 240.0
_TITLE, _SMALL, _NAME = 11.5, 10.5, 9.5


@dataclass(frozen=True, slots=True)
class Panel:
    """A painted cell: its elements, placed from its own top left corner."""

    width: float
    height: float
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class _Strip:
    """One band of a box.

    Attributes:
        fill: Its colour.
        title: First line; empty for none.
        share: Stands on the right of the first line.
        below: Second line, in small print.
        name: Third line, a name in code.
        part: Length of the bar along its lower side, as a share of its width.
    """

    fill: str
    title: str
    share: str = ""
    below: str = ""
    name: str = ""
    part: float = 0.0

    @property
    def height(self) -> float:
        """In pixels."""
        if not self.below:
            return 16.0
        return 52.0 if self.name else 36.0

    @property
    def width(self) -> float:
        """Least width that holds its text, in pixels."""
        first = text_width(self.title, _TITLE, bold=True) + text_width(self.share, _SMALL) + 14
        second = text_width(self.below, _SMALL)
        return 16 + max(first, second, text_width(self.name, _NAME, mono=True))


def paint(cell: Cell, letter: str, macs: int) -> Panel:
    """The drawing of one kind of block.

    Args:
        cell: What to draw.
        letter: Its tag.
        macs: Multiply-accumulates of the whole network.
    """
    header = list(_header(cell, letter, macs))
    width = _columns_wide(
        max(text.place.right + MARGIN for text in header if isinstance(text, Text))
    )
    if len(cell.figure.pieces) > LARGEST:
        lines = list(_in_words(cell.figure))
        return _framed(header + lines, width, _HEADER + 18 * len(lines) + MARGIN)
    pieces = zip(cell.figure.pieces, cell.piece_macs, strict=True)
    strips = [_strips(piece, part, cell.macs) for piece, part in pieces]
    boxes = [[_Strip(PANEL, text)] for text in _inputs(cell.figure)] + strips
    boxes.append([_Strip(PANEL, f"out {shape_text(cell.figure.shape)}")])
    wide = max(_LEAST_BOX, *(strip.width for box in strips for strip in box))
    sizes = [
        (wide if _is_full(box) else max(strip.width for strip in box), _height(box))
        for box in boxes
    ]
    layout = layered(sizes, _edges(cell.figure))
    width = max(width, _columns_wide(layout.width + 2 * MARGIN))
    left = (width - layout.width) / 2
    elements = [*header, *_lines(layout, left)]
    for box, (box_width, _), (middle, top) in zip(boxes, sizes, layout.centers, strict=True):
        elements += _box(box, left + middle - box_width / 2, _HEADER + top, box_width)
    return _framed(elements, width, _HEADER + layout.height + MARGIN)


def _columns_wide(width: float) -> float:
    """The width of as many columns of the page as it takes."""
    return ceil((width + GAP) / (COLUMN + GAP)) * (COLUMN + GAP) - GAP


def _framed(elements: Sequence[Element], width: float, height: float) -> Panel:
    frame = Box(0.5, 0.5, width - 1, height - 1, PANEL, FRAME, 8)
    return Panel(width, height, (frame, *elements))


def _header(cell: Cell, letter: str, macs: int) -> Iterator[Element]:
    figure = cell.figure
    yield from tag(letter, MARGIN, 14)
    yield Text(
        MARGIN + 22, 26, shortened(figure.title, _LONGEST, 14, bold=True), 14, INK, bold=True
    )
    blocks = "1 block" if cell.count == 1 else f"{cell.count:,} blocks"
    params, share = format_quantity(cell.params), share_text(cell.macs, macs)
    sums = f"{blocks}, {params} parameters, {share} of MACs"
    yield Text(MARGIN, 44, sums, 11, INK)
    inside = f", with {', '.join(figure.opened)} inside" if figure.opened else ""
    told = shortened(f"drawn: {figure.path}{inside}", 1.3 * _LONGEST, _SMALL)
    yield Text(MARGIN, 60, told, _SMALL, MUTED)


def _in_words(figure: Figure) -> Iterator[Element]:
    """What there is to say of a block with too many boxes to draw."""
    counts = Counter(
        words(piece.primitives[0]) if piece.primitives else piece.title for piece in figure.pieces
    )
    lines = [f"{len(figure.pieces):,} parts, too many to draw:"]
    lines += [f"{count:,} × {what}" for what, count in counts.most_common(8)]
    for place, line in enumerate(lines):
        yield Text(MARGIN, _HEADER + 14 + 18 * place, shortened(line, _LONGEST, 11), 11, INK)


# Boxes -------------------------------------------------------------------------------------


def _strips(piece: Piece, macs: int, whole: int) -> list[_Strip]:
    """The bands of one box."""
    share = share_text(macs, whole) if macs else ""
    part = macs / max(1, whole)
    name = shortened(piece.name, _LONGEST, _NAME, mono=True)
    out = shape_text(piece.shape)
    if not piece.primitives:
        title = f"{piece.count} more {piece.title}" if piece.count > 1 else piece.title
        return [_Strip(BLOCK, shortened(title, _LONGEST, _TITLE), share, out, name, part)]
    strips = []
    for primitive in piece.primitives:
        fill = colour(primitive)
        if isinstance(primitive, Join):
            strips.append(_Strip(fill, words(primitive), out))
        elif fill == LIGHT:
            strips.append(_Strip(fill, words(primitive)))
        else:
            below = ", ".join([out, *details(primitive, piece.input_shape)])
            strips.append(_Strip(fill, words(primitive), share, below, name, part))
    return strips


def _inputs(figure: Figure) -> list[str]:
    shapes = [shape_text(shape) for shape in figure.input_shapes]
    return [f"earlier in {shape}" for shape in shapes[:-1]] + [f"in {shapes[-1]}"]


def _is_full(box: Sequence[_Strip]) -> bool:
    """Whether a box is as wide as the others: all but inputs, outputs and joins."""
    return any(strip.below for strip in box) or box[0].fill == LIGHT


def _height(box: Sequence[_Strip]) -> float:
    return sum(strip.height for strip in box) + (6 if len(box) == 1 and not box[0].below else 0)


def _box(box: Sequence[_Strip], x: float, y: float, width: float) -> Iterator[Element]:
    height = _height(box)
    yield Box(x, y, width, height, box[0].fill, radius=5)
    extra = (height - sum(strip.height for strip in box)) / 2
    at = y + extra
    for place, strip in enumerate(box):
        last = place == len(box) - 1
        if place:
            yield Box(x, at, width, strip.height, strip.fill, radius=5 if last else 0)
            if last:
                yield Box(x, at, width, strip.height / 2, strip.fill)
        yield from _strip(strip, x, at, width)
        at += strip.height
    if box[0].fill == PANEL:
        yield Box(x, y, width, height, "none", LINE, 5)
    else:
        yield Box(x, y, width, height, "none", "#c9ccd1", 5)


def _strip(strip: _Strip, x: float, y: float, width: float) -> Iterator[Element]:
    if not strip.below:
        heavy = strip.fill not in {LIGHT, PANEL}
        if strip.share:
            yield Text(x + 8, y + 12, strip.title, _SMALL, INK, bold=heavy)
            yield Text(x + width - 8, y + 12, strip.share, _SMALL, INK, "end")
        else:
            yield Text(x + width / 2, y + 12, strip.title, _SMALL, MUTED, "middle")
        return
    yield Text(x + 8, y + 15, strip.title, _TITLE, INK, bold=True)
    if strip.share:
        yield Text(x + width - 8, y + 15, strip.share, _SMALL, INK, "end")
    yield Text(x + 8, y + 29, strip.below, _SMALL, INK)
    if strip.name:
        yield Text(x + 8, y + 42, strip.name, _NAME, MUTED, mono=True)
    if strip.part * (width - 16) >= 0.5:
        yield Box(x + 8, y + strip.height - 5, strip.part * (width - 16), 3, BAR)


# Lines -------------------------------------------------------------------------------------


def _edges(figure: Figure) -> list[tuple[int, int]]:
    """Who reads whom, among inputs, boxes and the output, numbered in this order."""
    places = {position: place for place, position in enumerate(figure.inputs)}
    edges: dict[tuple[int, int], None] = {}
    for place, piece in enumerate(figure.pieces, start=len(figure.inputs)):
        edges |= dict.fromkeys((places[read], place) for read in piece.reads)
        places |= dict.fromkeys(piece.outputs, place)
    last = len(figure.inputs) + len(figure.pieces)
    return [*edges, (last - 1, last)]


def _lines(layout: Layout, left: float) -> Iterator[Element]:
    for points in layout.routes.values():
        moved = tuple((left + x, _HEADER + y) for x, y in points)
        yield Line(moved, LINE, arrow=True)
