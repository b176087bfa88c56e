"""Scores over the constraint surface of compound scaling, as an SVG picture."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

SURFACE = "scaling.svg"
WIDTH, HEIGHT = 720, 560
SIDE = 440  # of the triangle, in pixels
LEFT, BOTTOM = 130, 490  # its lower left corner
RADIUS = 9
# From worst to best, lighter to darker, so that it reads without colours too.
_SHADES = ((255, 237, 190), (245, 160, 80), (190, 50, 90), (45, 15, 85))


def chart(found: Mapping[str, Any]) -> str:
    """A triangle whose corners spend the whole cost on depth, width or resolution alone.

    A network lies where the logarithms of alpha, beta squared and gamma squared have their shares
    of their sum; equal distances from all sides is a cost spread evenly. Rings mark the best
    network and, dashed, those not to be told from it.

    Args:
        found: What ``scaling.findings`` says of a run.
    """
    networks = sorted(found["networks"], key=lambda one: one["score"])
    low, high = networks[0]["score"], networks[-1]["score"]
    best = found["best"]
    metric, held = escape(found["metric"]), escape(found["on"])
    title = f"{metric} at {found['target']:g} times the MACs ({held})"
    shown = f"alpha {best['alpha']:g}, beta {best['beta']:g}, gamma {best['gamma']:g}"
    what = f"{len(networks)} networks; the best: {shown}: {best['score']:.4f}"
    parts = [
        f'<text x="24" y="30" font-size="16">{title}</text>',
        f'<text x="24" y="50" fill="#555">{what}</text>',
        *_frame(),
    ]
    for one in networks:
        x, y = _place(one)
        share = (one["score"] - low) / (high - low) if high > low else 1.0
        ring = _ring(one, best)
        label = f"{one['alpha']:g}, {one['beta']:g}, {one['gamma']:g}: {one['score']:.4f}"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="{_shade(share)}" {ring}>'
            f"<title>{label}</title></circle>"
        )
    body = "\n".join([*parts, *_legend(low, high)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _place(one: Mapping[str, Any]) -> tuple[float, float]:
    """Where a network lies, by the shares of depth, width and resolution in its cost."""
    logs = [math.log(one["alpha"]), 2 * math.log(one["beta"]), 2 * math.log(one["gamma"])]
    total = sum(logs)
    return _point([part / total for part in logs] if total else [1 / 3] * 3)


def _point(shares: Sequence[float]) -> tuple[float, float]:
    """Depth is the corner on top, width the left one, resolution the right one."""
    depth, _, resolution = shares
    return (
        LEFT + SIDE * (resolution + depth / 2),
        BOTTOM - SIDE * math.sqrt(3) / 2 * depth,
    )


def _frame() -> list[str]:
    """The triangle with its lines at quarters, and the names of its corners."""
    corners = [_point(shares) for shares in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    parts = [f'<polygon points="{outline}" fill="none" stroke="#888"/>']
    for quarter in (0.25, 0.5, 0.75):
        for place in range(3):
            ends = []
            for other in (1, 2):
                shares = [0.0, 0.0, 0.0]
                shares[place], shares[(place + other) % 3] = quarter, 1 - quarter
                ends.append("{:.1f} {:.1f}".format(*_point(shares)))
            parts.append(f'<path d="M{ends[0]}L{ends[1]}" stroke="#ddd"/>')
    names = (("depth alone", -16), ("width alone", 26), ("resolution alone", 26))
    for (x, y), (name, down) in zip(corners, names, strict=True):
        parts.append(
            f'<text x="{x:.1f}" y="{y + down:.1f}" text-anchor="middle" font-size="14">'
            f"{name}</text>"
        )
    return parts


def _ring(one: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    if one["trial"] == best["trial"]:
        return 'stroke="#000" stroke-width="3"'
    if one["told_apart"]:
        return 'stroke="#999" stroke-width="0.8"'
    return 'stroke="#000" stroke-width="1.6" stroke-dasharray="3 2"'


def _legend(low: float, high: float) -> list[str]:
    """The shades with the scores at their ends, and what the rings mean."""
    x, y = WIDTH - 150, 100
    parts = [
        f'<rect x="{x}" y="{y + 12 * (9 - step)}" width="16" height="12" '
        f'fill="{_shade(step / 9)}"/>'
        for step in range(10)
    ]
    rings = (
        ("best", 'stroke-width="3"'),
        ("not told from it", 'stroke-width="1.6" stroke-dasharray="3 2"'),
    )
    for place, (name, style) in enumerate(rings):
        below = y + 150 + 26 * place
        parts.append(f'<circle cx="{x + 8}" cy="{below}" r="7" fill="none" stroke="#000" {style}/>')
        parts.append(f'<text x="{x + 26}" y="{below + 4}">{name}</text>')
    return [
        *parts,
        f'<text x="{x + 24}" y="{y + 10}">{high:.4f}</text>',
        f'<text x="{x + 24}" y="{y + 118}">{low:.4f}</text>',
    ]


def _shade(share: float) -> str:
    """The colour at a share of the way from worst to best."""
    place = share * (len(_SHADES) - 1)
    first = min(int(place), len(_SHADES) - 2)
    mixed = (
        round(one + (place - first) * (other - one))
        for one, other in zip(_SHADES[first], _SHADES[first + 1], strict=True)
    )
    return "#{:02x}{:02x}{:02x}".format(*mixed)
