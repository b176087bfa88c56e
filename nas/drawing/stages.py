"""The macro view: a row for each stage, with its blocks, output shape, and costs."""

from collections.abc import Iterator, Sequence

from nas.drawing.contents import Contents, Group, Section
from nas.drawing.palette import (
    BAR,
    BLOCK,
    FRAME,
    INK,
    LINE,
    MUTED,
    TAG,
    TRACK,
    shape_text,
    share_text,
)
from nas.drawing.svg import Box, Element, Line, Text, shortened, text_width
from nas.limits import format_quantity

WIDTH = 1304.0
LEFT, BLOCKS, PARAMS, MACS, SHARE, RIGHT = 28.0, 176.0, 1014.0, 1088.0, 1108.0, 1276.0
MOST_GROUPS = 60  # of one section; those beyond are counted
_BOX_HEIGHT, _ROW_GAP, _ARROW = 42.0, 12.0, 18.0
_SPINE = LEFT + 8


def paint(contents: Contents, tags: Sequence[str], top: float) -> tuple[list[Element], float]:
    """The rows, and where they end.

    Args:
        contents: What to show.
        tags: The letter of each kind of block.
        top: Where they begin, in pixels from the top.
    """
    elements = list(_headings(top))
    y = top + 18
    dots = [y + 10.0]
    elements += [_text(LEFT + 26, y + 14, "image", mono=True, bold=True)]
    elements += [_text(BLOCKS, y + 14, shape_text(contents.input_shape), fill=MUTED)]
    y += 30
    for section in contents.sections:
        boxes, height = _boxes(section, tags, y + 4)
        elements.append(Line(((LEFT + 26, y), (RIGHT, y)), FRAME))
        elements += boxes
        elements += _costs(section, contents.macs, y + 4)
        dots.append(y + 4 + _BOX_HEIGHT / 2)
        y += height + 8
    elements += _spine(dots, contents.sections)
    return elements, y


def _headings(top: float) -> Iterator[Element]:
    yield _text(LEFT + 26, top, "stage and output", fill=MUTED)
    yield _text(BLOCKS, top, "blocks", fill=MUTED)
    yield Text(PARAMS, top, "parameters", 11, MUTED, "end")
    yield Text(MACS, top, "MACs", 11, MUTED, "end")
    yield _text(SHARE, top, "share of MACs", fill=MUTED)


def _spine(dots: Sequence[float], sections: Sequence[Section]) -> Iterator[Element]:
    """The way of the feature maps down the page, with what skips sections beside it."""
    yield Line(((_SPINE, dots[0]), (_SPINE, dots[-1])), LINE)
    for at, section in enumerate(sections):
        for back in section.back:
            if back > 1:
                start, end = dots[at + 1 - back], dots[at + 1]
                beside = _SPINE - 14
                points = ((_SPINE, start), (beside, start + 12), (beside, end - 12), (_SPINE, end))
                yield Line(points, LINE)
    for y in dots:
        yield Box(_SPINE - 4, y - 4, 8, 8, TAG, radius=4)


def _boxes(section: Section, tags: Sequence[str], top: float) -> tuple[list[Element], float]:
    """Name, shape and blocks of one row, and its height."""
    room = BLOCKS - LEFT - 36
    name = shortened(section.name, room, 12, bold=True, mono=True)
    elements: list[Element] = [
        _text(LEFT + 26, top + 17, name, size=12, mono=True, bold=True),
        _text(LEFT + 26, top + 34, shape_text(section.shape), fill=MUTED),
    ]
    x, y = BLOCKS, top
    for place, group in enumerate(section.groups[:MOST_GROUPS]):
        title, below = _words(group)
        width = max(text_width(title, 12, bold=True) + 34, text_width(below, 10.5) + 16)
        if place:
            if x + _ARROW + width > PARAMS - 56:
                x, y = BLOCKS - _ARROW, y + _BOX_HEIGHT + _ROW_GAP
            middle = y + _BOX_HEIGHT / 2
            elements.append(Line(((x + 2, middle), (x + _ARROW - 2, middle)), LINE, arrow=True))
            x += _ARROW
        elements.append(Box(x, y, width, _BOX_HEIGHT, BLOCK, radius=6))
        elements += tag(tags[group.cell], x + 8, y + 6)
        elements.append(_text(x + 28, y + 18, title, size=12, bold=True))
        elements.append(_text(x + 8, y + 34, below, size=10.5, fill=MUTED))
        x += width
    more = len(section.groups) - MOST_GROUPS
    if more > 0:
        y += _BOX_HEIGHT + 18
        elements.append(_text(BLOCKS, y, f"and {more:,} more", fill=MUTED))
        return elements, y - top
    return elements, y - top + _BOX_HEIGHT


def tag(letter: str, x: float, y: float) -> Iterator[Element]:
    """The letter that leads from a block in its stage to its drawing; 15 pixels each way."""
    yield Box(x, y, 15, 15, TAG, radius=3)
    yield Text(
        x + 7.5, y + 11.5, letter, 10 if len(letter) == 1 else 8, "#ffffff", "middle", bold=True
    )


def _words(group: Group) -> tuple[str, str]:
    """The two lines on the box of a group."""
    figure = group.figure
    title = shortened(figure.title, 260, 12, bold=True)
    if group.count > 1:
        title += f"  ×{group.count}"
    parts = [f"{int(figure.input_shapes[-1][0])} → {int(group.shape[0])}"]
    parts += [f"{piece.count + 2} × {piece.title}" for piece in figure.pieces if piece.count > 1]
    parts += [
        f"{name.replace('_', ' ')} {int(value)}"
        for name, value in figure.arguments.items()
        if "channels" not in name
    ]
    return title, shortened(" · ".join(parts), 480, 10.5)


def _costs(section: Section, macs: int, top: float) -> Iterator[Element]:
    y = top + 25
    yield Text(PARAMS, y, format_quantity(section.params), 11.5, INK, "end")
    yield Text(MACS, y, format_quantity(section.macs), 11.5, INK, "end")
    length = RIGHT - SHARE - 52
    yield Box(SHARE, y - 9, length, 10, TRACK, radius=2)
    filled = length * section.macs / max(1, macs)
    if filled >= 0.5:
        yield Box(SHARE, y - 9, filled, 10, BAR, radius=min(2, filled / 2))
    yield Text(RIGHT, y, share_text(section.macs, macs), 11, INK, "end")


def _text(  # noqa: PLR0913 - how a line of text looks
    x: float,
    y: float,
    content: str,
    *,
    size: float = 11,
    fill: str = INK,
    mono: bool = False,
    bold: bool = False,
) -> Text:
    return Text(x, y, content, size, fill, bold=bold, mono=mono)
