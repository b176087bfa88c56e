"""``front.svg``: every child of a search for several objectives, and the front."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from nas.drawing.axes import Axis
from nas.finalists import Finalist
from nas.limits import COSTS, Objective, format_quantity
from nas.record import Record
from nas.trial import Trial

WIDTH, PANEL = 720, 400  # of the page, and the height of one panel
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 56, 52  # margins of a panel
CHILD, FRONT, AGAIN = "#999999", "#0072B2", "#D55E00"  # grey, and two of Okabe and Ito's colours
ROOM = 0.15  # beside the front, as a share of its extent
NAMES: Mapping[str, str] = {
    "params": "parameters",
    "macs": "MACs for one image",
    "latency_ms": "latency in ms",
}


def front_chart(record: Record, front: Sequence[Finalist]) -> str:
    """The first objective against each other one, a panel for each.

    Dots are the children of the search, blue those that no other was as good as everywhere; with
    two objectives a line bounds what they cover. Diamonds are the members of the front after their
    scores on fresh seeds, with the numbers of their trials. The panel shows the surroundings of
    the front: what lies outside is drawn on its edge.

    Args:
        record: A search with a front.
        front: Its members, scored again.
    """
    first, *others = record.objectives
    panels = [
        part
        for place, other in enumerate(others)
        for part in _panel(record, front, y=first, x=other, top=PANEL * place)
    ]
    height = PANEL * len(others)
    body = "\n".join(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _panel(
    record: Record, front: Sequence[Finalist], *, y: Objective, x: Objective, top: int
) -> list[str]:
    """One objective against another."""
    children = [trial for trial in record.trials if trial.state == "complete"]
    shown: list[Trial | Finalist] = [*record.front, *front]
    x_axis = _axis(x, [one.figure(x.metric) for one in shown], LEFT, WIDTH - RIGHT)
    y_axis = _axis(y, [one.figure(y.metric) for one in shown], top + PANEL - BOTTOM, top + TOP)
    parts = _frame(x_axis, y_axis, x=x, y=y, top=top)
    for trial in children:
        across, down = x_axis.at(trial.figure(x.metric)), y_axis.at(trial.figure(y.metric))
        at = f'cx="{across:.1f}" cy="{down:.1f}"'
        parts.append(f'<circle {at} r="2.5" fill="{CHILD}" fill-opacity="0.6"/>')
    parts += _search_front(record, x_axis, y_axis, x=x, y=y)
    for member in front:
        across, down = x_axis.at(member.figure(x.metric)), y_axis.at(member.figure(y.metric))
        parts.append(f'<path d="M{across:.1f} {down - 5:.1f}l5 5l-5 5l-5 -5z" fill="{AGAIN}"/>')
        parts.append(
            f'<text x="{across + 8:.1f}" y="{down + 14:.1f}" font-size="11" fill="{AGAIN}">'
            f"{member.trial.ordinal}</text>"
        )
    return parts


def _axis(objective: Objective, values: Sequence[float], start: float, end: float) -> Axis:
    """From a little below the values to a little above; costs in equal factors."""
    low, high = min(values), max(values)
    if objective.metric in COSTS and low > 0:
        factor = max((high / low) ** ROOM, 1.1)
        return Axis(low / factor, high * factor, start, end)
    room = max(ROOM * (high - low), 1e-3 * max(abs(high), 1e-3))
    return Axis(low - room, high + room, start, end, logarithmic=False)


def _frame(x_axis: Axis, y_axis: Axis, *, x: Objective, y: Objective, top: int) -> list[str]:
    """Title, legend, axes and grid."""
    low, middle = top + PANEL - BOTTOM, (LEFT + WIDTH - RIGHT) / 2
    x_name, y_name = (escape(NAMES.get(one.metric, one.metric)) for one in (x, y))
    parts = [
        f'<text x="{LEFT}" y="{top + 22}" font-size="15">{y_name} against {x_name}</text>',
        f'<text x="{middle:.1f}" y="{low + 40}" text-anchor="middle">{x_name}</text>',
        *_legend(top + 40),
    ]
    for tick in x_axis.ticks():
        at = f"{x_axis.at(tick):.1f}"
        parts.append(f'<path d="M{at} {top + TOP}V{low}" stroke="#eee"/>')
        parts.append(f'<text x="{at}" y="{low + 18}" text-anchor="middle">{_mark(x, tick)}</text>')
    for tick in y_axis.ticks():
        down = y_axis.at(tick)
        parts.append(f'<path d="M{LEFT} {down:.1f}H{WIDTH - RIGHT}" stroke="#eee"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{down + 4:.1f}" text-anchor="end">{_mark(y, tick)}</text>'
        )
    parts.append(
        f'<rect x="{LEFT}" y="{top + TOP}" width="{WIDTH - RIGHT - LEFT}" '
        f'height="{PANEL - TOP - BOTTOM}" fill="none" stroke="#bbb"/>'
    )
    return parts


def _legend(y: int) -> list[str]:
    """What the signs are, in one line."""
    return [
        f'<circle cx="{LEFT + 4}" cy="{y - 4}" r="2.5" fill="{CHILD}"/>',
        f'<text x="{LEFT + 12}" y="{y}" fill="#555">child</text>',
        f'<circle cx="{LEFT + 68}" cy="{y - 4}" r="3.5" fill="{FRONT}"/>',
        f'<text x="{LEFT + 77}" y="{y}" fill="#555">front of the search</text>',
        f'<path d="M{LEFT + 220} {y - 9}l5 5l-5 5l-5 -5z" fill="{AGAIN}"/>',
        f'<text x="{LEFT + 230}" y="{y}" fill="#555">front on fresh seeds, by trial</text>',
    ]


def _search_front(
    record: Record, x_axis: Axis, y_axis: Axis, *, x: Objective, y: Objective
) -> list[str]:
    """The members as the search scored them, with the steps between them if they are a line."""
    ordered = sorted(record.front, key=lambda trial: -x.reward(trial.figure(x.metric)))
    points = [(x_axis.at(one.figure(x.metric)), y_axis.at(one.figure(y.metric))) for one in ordered]
    parts = [
        f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3.5" fill="{FRONT}"/>'
        for across, down in points
    ]
    if len(record.objectives) == 2:
        steps = "".join(f"H{across:.1f}V{down:.1f}" for across, down in points[1:])
        low = y_axis.start if y.direction == "maximize" else y_axis.end
        far = x_axis.end if x.direction == "minimize" else x_axis.start
        path = f"M{points[0][0]:.1f} {low:.1f}V{points[0][1]:.1f}{steps}H{far:.1f}"
        parts.append(f'<path d="{path}" fill="none" stroke="{FRONT}" stroke-width="1.5"/>')
    return parts


def _mark(objective: Objective, value: float) -> str:
    """A value beside an axis."""
    whole = objective.metric in {"params", "macs"}
    return format_quantity(value) if whole else f"{value:g}"
