"""Shapes and text on a page, and the SVG that shows them: the same bytes for the same page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple, final

SANS = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONO = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"

# Advance widths in em of DejaVu Sans, the widest of the usual sans-serif fonts, rounded up: text
# that fits by this table fits in Helvetica and Arial too. What is not listed counts as 1 em.
_WIDTHS = {
    sign: width
    for width, signs in {
        0.30: "IJijl",
        0.35: " ,./:;\\|·",
        0.40: "()-[]ft",
        0.45: "!r",
        0.50: '"*_`',
        0.55: "?csz",
        0.60: "FLkvxy'",
        0.65: "$0123456789EPSTYabdeghnopqu{}",
        0.70: "ABCKRVXZ",
        0.75: "NU",
        0.80: "&DGHOQ",
        0.85: "#+<=>^w~×→",
        0.90: "M",
    }.items()
    for sign in signs
}
_BOLD = 1.13  # how much wider bold text is, on average
_MONO_WIDTH = 0.61
_ASCENT, _DESCENT = 0.78, 0.24  # of lower- and upper-case letters, in em


class Rectangle(NamedTuple):
    """A place on the page, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


@final
@dataclass(frozen=True, slots=True)
class Text:
    """One line of text.

    Attributes:
        x: Where it is anchored, in pixels from the left.
        y: Its baseline, in pixels from the top.
        content: What it says; control characters are dropped.
        size: Height of the font in pixels.
        fill: Colour.
        anchor: What ``x`` is: the start, the middle or the end of the text.
        bold: Whether it is bold.
        mono: Whether all letters are equally wide, as names in code are written.
    """

    x: float
    y: float
    content: str
    size: float
    fill: str
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False
    mono: bool = False

    @property
    def place(self) -> Rectangle:
        """The most room that it can take in any of the usual fonts."""
        width = text_width(self.content, self.size, bold=self.bold, mono=self.mono)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        top, bottom = self.y - _ASCENT * self.size, self.y + _DESCENT * self.size
        return Rectangle(left, top, left + width, bottom)


@final
@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with rounded corners; no ``stroke`` is no border."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = ""
    radius: float = 0.0


@final
@dataclass(frozen=True, slots=True)
class Line:
    """A line: from the first point, straight where two points lie above each other, else curved.

    Attributes:
        points: ``(x, y)`` in pixels, from top to bottom.
        stroke: Colour.
        arrow: Whether it ends in an arrowhead.
    """

    points: tuple[tuple[float, float], ...]
    stroke: str
    arrow: bool = False


Element = Text | Box | Line


def text_width(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """Pixels that a line of text takes at most in any of the usual fonts."""
    plain = visible(text)
    if mono:
        return size * sum(_MONO_WIDTH if sign.isascii() else 1.0 for sign in plain)
    return size * sum(_WIDTHS.get(sign, 1.0) for sign in plain) * (_BOLD if bold else 1.0)


def shortened(
    text: str, width: float, size: float, *, bold: bool = False, mono: bool = False
) -> str:
    """``text``, cut at its end if it takes more than ``width`` pixels."""
    plain = visible(text)
    if text_width(plain, size, bold=bold, mono=mono) <= width:
        return plain
    room = width - text_width("…", size, bold=bold, mono=mono)
    ends = accumulate(text_width(sign, size, bold=bold, mono=mono) for sign in plain)
    return plain[: sum(end <= room for end in ends)].rstrip() + "…"


def visible(text: str) -> str:
    """``text`` without control characters, which XML forbids or which turn the reading round."""
    return "".join(sign for sign in text if sign.isprintable())


def document(
    elements: Sequence[Element], width: float, height: float, *, title: str, description: str
) -> str:
    """The page as an SVG document.

    Args:
        elements: What is painted, later ones over earlier ones.
        width: Of the page, in pixels.
        height: Of the page, in pixels.
        title: What the picture is, for those who cannot see it.
        description: What it shows, likewise.
    """
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{_number(width)}" '
                f'height="{_number(height)}" viewBox="0 0 {_number(width)} {_number(height)}" '
                f'role="img" aria-labelledby="title description" font-family="{SANS}">'
            ),
            f'<title id="title">{_escaped(title)}</title>',
            f'<desc id="description">{_escaped(description)}</desc>',
            *(_painted(element) for element in elements),
            "</svg>\n",
        ]
    )


def _painted(element: Element) -> str:
    match element:
        case Text():
            return _text(element)
        case Box():
            border = f' stroke="{element.stroke}"' if element.stroke else ""
            corners = f' rx="{_number(element.radius)}"' if element.radius else ""
            return (
                f'<rect x="{_number(element.x)}" y="{_number(element.y)}" '
                f'width="{_number(element.width)}" height="{_number(element.height)}"{corners} '
                f'fill="{element.fill}"{border}/>'
            )
        case Line():
            return "\n".join(_line(element))


def _text(text: Text) -> str:
    marks = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
    marks += ' font-weight="bold"' if text.bold else ""
    marks += f' font-family="{MONO}"' if text.mono else ""
    return (
        f'<text x="{_number(text.x)}" y="{_number(text.y)}" font-size="{_number(text.size)}" '
        f'fill="{text.fill}"{marks}>{_escaped(text.content)}</text>'
    )


def _line(line: Line) -> Iterator[str]:
    (x, y), *rest = line.points
    steps = [f"M{_number(x)} {_number(y)}"]
    for at_x, at_y in rest:
        if abs(at_x - x) < 0.5:
            steps.append(f"V{_number(at_y)}")
        elif abs(at_y - y) < 0.5:
            steps.append(f"H{_number(at_x)}")
        else:  # a curve that leaves and arrives upright
            middle = _number((y + at_y) / 2)
            steps.append(
                f"C{_number(x)} {middle} {_number(at_x)} {middle} {_number(at_x)} {_number(at_y)}"
            )
        x, y = at_x, at_y
    yield f'<path d="{" ".join(steps)}" fill="none" stroke="{line.stroke}" stroke-width="1.4"/>'
    if line.arrow:
        sides = " ".join(f"{_number(x + dx)},{_number(y + dy)}" for dx, dy in _head(line))
        yield f'<polygon points="{sides}" fill="{line.stroke}"/>'


def _head(line: Line) -> tuple[tuple[float, float], ...]:
    """Corners of the arrowhead, relative to where the line ends: down, or to the right."""
    (before_x, before_y), (x, y) = line.points[-2:]
    if abs(before_y - y) < 0.5 and x > before_x:
        return (0, 0), (-6, -3.5), (-6, 3.5)
    return (0, 0), (-3.5, -6), (3.5, -6)


def _escaped(text: str) -> str:
    plain = visible(text)
    for sign, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot")):
        plain = plain.replace(sign, f"&{name};")
    return plain


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
