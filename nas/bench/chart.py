"""Regret against queries as an SVG picture."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from nas.drawing.axes import Axis, log_ticks

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 50, 50  # margins; the names stand on the right
# Okabe and Ito's colours for everybody, without black and yellow; then again, dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
FLOOR, FLOOR_STYLE = "floor of what is told", 'stroke="#999999" stroke-dasharray="2 3"'
BAR_GAP = 3
LINE_HEIGHT = 18


def chart(found: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """The regret of the recommended network of every strategy on one table.

    Bars are two standard errors up and down. Regrets of 0 lie on the lower edge.

    Args:
        found: The document of a comparison.
        table: One of its tables.
    """
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in found["results"]:
        if row["table"] == table["table"]:
            lines.setdefault(row["strategy"], []).append(row)
    styles = {name: _style(at) for at, name in enumerate(lines)}
    lines[FLOOR], styles[FLOOR] = table["floors"], FLOOR_STYLE
    queries = [row["queries"] for row in table["floors"]]
    regrets = [
        row["regret_mean"] + errors * row["regret_stderr"]
        for rows in lines.values()
        for row in rows
        for errors in (0, 2)
    ]
    x_axis, y_axis = _x_axis(queries), _y_axis(regrets)
    parts = _frame(table, queries, x_axis=x_axis, y_axis=y_axis)
    for at, (name, rows) in enumerate(lines.items()):
        beside = BAR_GAP * (at - (len(lines) - 1) / 2)  # so that bars do not hide each other
        parts += _line(rows, styles[name], beside=beside, x_axis=x_axis, y_axis=y_axis)
    by_last = sorted(lines, key=lambda name: -lines[name][-1]["regret_mean"])
    for at, name in enumerate(by_last):
        parts += _entry(name, styles[name], y=TOP + LINE_HEIGHT * (at + 0.5))
    body = "\n".join(parts)
    height = max(HEIGHT, TOP + BOTTOM + LINE_HEIGHT * len(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _x_axis(queries: Sequence[int]) -> Axis:
    return Axis(queries[0] / 1.1, queries[-1] * 1.1, LEFT, WIDTH - RIGHT)


def _y_axis(regrets: Sequence[float]) -> Axis:
    """From a tick below all regrets but 0 to one above."""
    positive = [regret for regret in regrets if regret > 0]
    low, high = min(positive, default=0.1), max(positive, default=1.0)
    below = max(tick for tick in log_ticks(low / 10, low))
    above = min(tick for tick in log_ticks(high, high * 10) if tick > below)
    return Axis(below, above, HEIGHT - BOTTOM, TOP)


def _style(number: int) -> str:
    dash = ' stroke-dasharray="7 3"' if number // len(COLOURS) % 2 else ""
    return f'stroke="{COLOURS[number % len(COLOURS)]}"{dash}'


def _frame(
    table: Mapping[str, Any], queries: Sequence[int], *, x_axis: Axis, y_axis: Axis
) -> list[str]:
    """Title, axes and grid."""
    limits = "".join(f", {name} at most {value:,.10g}" for name, value in table["limits"].items())
    middle = (x_axis.start + x_axis.end) / 2
    title, what = escape(table["table"] + limits), escape(table["metric"])
    parts = [
        f'<text x="{LEFT}" y="22" font-size="15">{title}</text>',
        f'<text x="{LEFT}" y="39" fill="#555">{what}: regret of the recommended network</text>',
        f'<text x="{middle:.1f}" y="{HEIGHT - 12}" text-anchor="middle">queries</text>',
    ]
    for count in queries:
        x = f"{x_axis.at(count):.1f}"
        parts.append(f'<path d="M{x} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(
            f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{count}</text>'
        )
    for tick in y_axis.ticks():
        y = y_axis.at(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    return parts


def _line(
    rows: Sequence[Mapping[str, Any]],
    style: str,
    *,
    beside: float,
    x_axis: Axis,
    y_axis: Axis,
) -> list[str]:
    """One line with its error bars."""
    points, bars = [], []
    for row in rows:
        x, mean = x_axis.at(row["queries"]) + beside, row["regret_mean"]
        points.append(f"{x:.1f},{y_axis.at(mean):.1f}")
        low, high = (y_axis.at(mean + sign * 2 * row["regret_stderr"]) for sign in (-1, 1))
        bars.append(f"M{x:.1f} {low:.1f}V{high:.1f}")
    return [
        f'<polyline points="{" ".join(points)}" fill="none" {style} stroke-width="2"/>',
        f'<path d="{"".join(bars)}" {style} stroke-width="1"/>',
    ]


def _entry(name: str, style: str, *, y: float) -> list[str]:
    """A line of the legend; a long name ends in dots."""
    x = WIDTH - RIGHT + 16
    shown = name if len(name) <= 32 else f"{name[:31]}\N{HORIZONTAL ELLIPSIS}"
    return [
        f'<path d="M{x} {y:.1f}h22" {style} stroke-width="2"/>',
        f'<text x="{x + 28}" y="{y + 4:.1f}">{escape(shown)}</text>',
    ]
