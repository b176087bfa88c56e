"""The curve of a training, and who is taken for whom, as SVG pictures."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from estimators.snapshot import Epoch

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 60, 60, 30, 40
LOSS, ACCURACY = "#D55E00", "#0072B2"  # of Okabe and Ito's colours for everybody
CELL, MOST_CLASSES = 36, 30


def curve_picture(curve: Sequence[Epoch]) -> str:
    """Training loss on the left axis, from 0; validation accuracy on the right one, if there is.

    Args:
        curve: At least one pass.
    """
    highest = max(line.loss for line in curve) or 1.0
    parts = [_text(LEFT, 18, "training loss", LOSS)]
    parts += [_line([line.loss / highest for line in curve], LOSS)]
    parts += [_text(8, TOP + 5, f"{highest:.2f}", LOSS), _text(8, HEIGHT - BOTTOM, "0", LOSS)]
    found = [line.validation["accuracy"] for line in curve if "accuracy" in line.validation]
    if found:
        low = min(found)
        span = (1 - low) or 1.0
        edge = WIDTH - RIGHT + 8
        parts += [
            _line([(value - low) / span for value in found], ACCURACY),
            _text(edge, TOP + 5, "1.0", ACCURACY),
            _text(edge, HEIGHT - BOTTOM, f"{low:.3f}", ACCURACY),
            _text(WIDTH - 200, 18, f"validation accuracy {found[-1]:.4f}", ACCURACY),
        ]
    parts += [_text(WIDTH // 2 - 40, HEIGHT - 12, f"{len(curve)} epochs", "#444444")]
    frame = (
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM}" fill="none" stroke="#999999"/>'
    )
    return _svg(WIDTH, HEIGHT, [frame, *parts])


def confusion_picture(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Rows are classes, columns what their images are taken for; shade is the share of the row.

    Args:
        counts: ``[class][taken for]``.
        classes: Names; numbers of images are written for up to ``MOST_CLASSES`` of them.
    """
    left = 16 + 8 * min(20, max(len(name) for name in classes))
    cell = CELL if len(classes) <= MOST_CLASSES else 12
    side = cell * len(classes)
    parts = []
    for at, (name, row) in enumerate(zip(classes, counts, strict=True)):
        y, total = 30 + at * cell, sum(row) or 1
        parts.append(_text(8, y + cell * 0.65, name[:20], "#222222"))
        for column, count in enumerate(row):
            x, share = left + column * cell, count / total
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" '
                f'fill="{ACCURACY if column == at else LOSS}" fill-opacity="{share:.3f}" '
                'stroke="#dddddd"/>'
            )
            if count and cell == CELL:
                colour = "#ffffff" if share > 0.5 else "#222222"
                parts.append(_text(x + 3, y + cell * 0.65, str(count), colour))
    parts.insert(0, _text(left, 18, "taken for, in the same order", "#222222"))
    return _svg(left + side + 10, 40 + side, parts)


def _line(shares: Sequence[float], colour: str) -> str:
    """A line over the whole width; a share of 1 lies at the top."""
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    step = wide / max(1, len(shares) - 1)
    points = " ".join(
        f"{LEFT + at * step:.1f},{TOP + (1 - share) * high:.1f}" for at, share in enumerate(shares)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, text: str, colour: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}">{escape(text)}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )
