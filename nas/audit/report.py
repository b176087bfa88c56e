"""An audit for people: tables that fit a screen of 80 columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from nas.audit.findings import CANNOT_TELL
from nas.limits import format_quantity


def text(found: Mapping[str, Any]) -> str:
    """The document as text."""
    sections = [
        _heading(found),
        _ranks(found),
        _against_costs(found),
        _families(found),
        _finalists(found),
        _random(found),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _heading(found: Mapping[str, Any]) -> list[str]:
    seeds = f"{found['seeds']} {'seeds' if found['seeds'] > 1 else 'seed'}"
    lines = [
        f"{found['children']} children drawn uniformly within the limits, each trained in full",
        f"on {seeds}, {found['seconds_of_training']:.1f} s a training",
    ]
    if found["ceiling"] is not None:
        lines.append(f"{found['objective']} of one child varies by {found['noise']:.4f} by seed")
        lines.append(f"two full trainings agree with tau {found['ceiling']:.2f}, a ceiling for all")
    return lines


def _ranks(found: Mapping[str, Any]) -> list[str]:
    blind = f"{found['blind_regret']:.4f}"
    rows = [
        [
            row["estimator"],
            f"{row['seconds']:.2f}",
            _plain(row["tau"]["value"]),
            _range(row["tau"]),
            _plain(row["tau_top_half"]),
            f"{row['regret']:.4f}",
        ]
        for row in found["estimators"]
    ]
    head = ["ranking", "s/child", "tau", "95 %", "top half", f"regret of {found['regret_of']}"]
    return [*_table([head, *rows, ["(blind choice)", "", "", "", "", blind]])]


def _against_costs(found: Mapping[str, Any]) -> list[str]:
    rows = [
        [row["estimator"], *(_difference(row[f"minus_{cost}"]) for cost in ("params", "macs"))]
        for row in found["estimators"]
    ]
    head = ["tau minus that of", "parameters alone", "MACs alone"]
    legend = "better or worse: the interval excludes 0; ? cannot tell"
    return [*_table([head, *rows]), legend, found["summary"]]


def _families(found: Mapping[str, Any]) -> list[str]:
    if len(found["families"]) < 2:
        return []
    rows = [
        [row["estimator"], _plain(row["tau_within"]), _plain(row["tau_between"])]
        for row in found["estimators"]
    ]
    head = ["tau by families", "within", "between"]
    return [*_table([head, *rows]), f"families: {', '.join(found['families'])}"]


def _finalists(found: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            f"trial {row['trial']}",
            format_quantity(row["params"]),
            format_quantity(row["macs"]),
            f"{row['mean']:.4f}",
            str(row["seeds"]),
            "may be the best" if row["may_be_best"] else "worse",
        ]
        for row in found["finalists"]
    ]
    head = ["finalists", "params", "MACs", found["objective"], "seeds", "smallest first"]
    return _table([head, *rows]) if rows else []


def _random(found: Mapping[str, Any]) -> list[str]:
    random = found["random"]
    if random is None:
        return []
    if random["gain"] is None:
        return ["random search found nothing in the same device-seconds"]
    gain = f"{random['gain']:+.4f}"
    if random["low"] is not None:
        gain += f" [{random['low']:+.4f}, {random['high']:+.4f}]"
        told = f"{random['gain_per_hour']:+.4f} an hour of device time"
        gain += f": {CANNOT_TELL if random['low'] <= 0 <= random['high'] else told}"
    seconds = f"{random['random_seconds']:.0f} device-seconds (the run {random['seconds']:.0f})"
    return [
        f"random search: {random['random_children']} children in {seconds}",
        f"best {random['random_best']:.4f}, that of the run {random['best']:.4f}",
        f"gain of the run {gain}",
    ]


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "-"
    verdict = found["verdict"] if found["verdict"] != CANNOT_TELL else "?"
    return f"{found['value']:+.2f} {_range(found)} {verdict:<6}"


def _range(found: Mapping[str, Any]) -> str:
    return "-" if found["low"] is None else f"[{found['low']:+.2f}, {found['high']:+.2f}]"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
