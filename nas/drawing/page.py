"""The whole page: heading, stages, kinds of blocks, legend."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nas.drawing import cells, stages
from nas.drawing.cells import Panel
from nas.drawing.contents import Contents, contents
from nas.drawing.palette import FRAME, INK, LEGEND, MUTED, PAGE, shape_text
from nas.drawing.svg import Box, Element, Line, Text, document, shortened, text_width
from nas.limits import format_quantity
from search_spaces.graph import Graph

MOST_CELLS = 40  # that are drawn; those beyond are counted


@dataclass(frozen=True, slots=True)
class Page:
    """A finished page.

    Attributes:
        elements: What is painted, in order.
        width: In pixels.
        height: In pixels.
        title: What the picture is.
        description: What it shows.
    """

    elements: tuple[Element, ...]
    width: float
    height: float
    title: str
    description: str


def draw(graph: Graph, name: str) -> str:
    """A drawing of a network as an SVG document: the same bytes for the same arguments.

    Args:
        graph: The network.
        name: What to call it; any text.
    """
    done = page(contents(graph), name)
    return document(
        done.elements, done.width, done.height, title=done.title, description=done.description
    )


def page(shown: Contents, name: str) -> Page:
    """The page, before it is written."""
    tags = [_letters(place) for place in range(len(shown.cells))]
    rows, y = stages.paint(shown, tags, 88)
    panels = [
        cells.paint(cell, letter, shown.macs)
        for cell, letter in zip(shown.cells[:MOST_CELLS], tags, strict=False)
    ]
    width = max(stages.WIDTH, *(panel.width + 2 * stages.LEFT for panel in panels))
    y += 34
    heading = Text(stages.LEFT, y, "Blocks, each kind once", 15, INK, bold=True)
    placed, y = _packed(panels, y + 16, width)
    more = len(shown.cells) - MOST_CELLS
    if more > 0:
        placed.append(Text(stages.LEFT, y + 12, f"and {more:,} more kinds of blocks", 11, MUTED))
        y += 24
    legend = list(_legend(y + 4))
    height = y + 44
    background = Box(0, 0, width, height, PAGE, FRAME, 10)
    everything = (background, *_heading(shown, name), *rows, heading, *placed, *legend)
    return Page(everything, width, height, *_spoken(shown, name))


def _heading(shown: Contents, name: str) -> Iterator[Element]:
    room = stages.RIGHT - stages.LEFT
    yield Text(stages.LEFT, 38, shortened(name, room, 20, bold=True), 20, INK, bold=True)
    output = shape_text(shown.sections[-1].shape)
    sums = (
        f"{shown.title}: {shape_text(shown.input_shape)} to {output}, {shown.params:,} parameters, "
        f"{shown.macs:,} MACs for one image"
    )
    yield Text(stages.LEFT, 60, shortened(sums, room, 12), 12, MUTED)


def _packed(panels: Sequence[Panel], top: float, width: float) -> tuple[list[Element], float]:
    """The panels in columns, each as high up as there is room, and where they end."""
    step = cells.COLUMN + cells.GAP
    bottoms = [top] * int((width - 2 * stages.LEFT + cells.GAP) / step)
    elements: list[Element] = []
    for panel in panels:
        span = round((panel.width + cells.GAP) / step)
        starts = range(len(bottoms) - span + 1)
        first = min(starts, key=lambda start: max(bottoms[start : start + span]))
        y = max(bottoms[first : first + span])
        bottoms[first : first + span] = [y + panel.height + cells.GAP] * span
        x = stages.LEFT + first * step
        elements += [_moved(element, x, y) for element in panel.elements]
    return elements, max(bottoms)


def _moved(element: Element, x: float, y: float) -> Element:
    if isinstance(element, Line):
        return replace(element, points=tuple((x + px, y + py) for px, py in element.points))
    return replace(element, x=element.x + x, y=element.y + y)


def _legend(y: float) -> Iterator[Element]:
    x = stages.LEFT
    for word, fill in LEGEND.items():
        yield Box(x, y, 14, 14, fill, "#c9ccd1", 3)
        yield Text(x + 20, y + 11, word, 11, MUTED)
        x += 36 + text_width(word, 11)
    yield Text(x, y + 11, "per cent in a block: of the MACs of all blocks of its kind", 11, MUTED)


def _spoken(shown: Contents, name: str) -> tuple[str, str]:
    """Title and description for those who cannot see the picture."""
    rows = [
        f"{section.name}: "
        + ", ".join(f"{group.count} {group.figure.title}" for group in section.groups[:20])
        + f", to {shape_text(section.shape)}"
        for section in shown.sections[:100]
    ]
    title = (
        f"{name}: {format_quantity(shown.params)} parameters, {format_quantity(shown.macs)} MACs"
    )
    return title, f"From an image of {shape_text(shown.input_shape)}. " + ". ".join(rows) + "."


def _letters(place: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    text = ""
    place += 1
    while place:
        place, last = divmod(place - 1, 26)
        text = chr(ord("A") + last) + text
    return text
