"""The published networks as a table."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from search_spaces.architecture import lower
from search_spaces.reference import FAMILIES


def references_document() -> list[dict[str, Any]]:
    """What ``nas references --json`` prints: each network as published, family by family."""
    rows = []
    for family, makers in FAMILIES.items():
        for name, make in makers.items():
            graph = lower(make())
            rows.append(
                {
                    "name": name,
                    "family": family,
                    "input_shape": [int(side) for side in graph.input_shape],
                    "params": graph.params,
                    "macs": graph.macs,
                }
            )
    return rows


def references_text(document: Sequence[dict[str, Any]]) -> str:
    """The same for the eye: a family's name stands beside its first network alone."""
    names = max(len(row["name"]) for row in document)
    families = max(len(row["family"]) for row in document)
    lines = [f"{'family':<{families}}  {'network':<{names}}  {'input':<9}   parameters{'MACs':>16}"]
    for family, rows in groupby(document, key=lambda row: row["family"]):
        for place, row in enumerate(rows):
            shape = "x".join(str(side) for side in row["input_shape"])
            shown = "" if place else family
            lines.append(
                f"{shown:<{families}}  {row['name']:<{names}}  {shape:<9}"
                f"{row['params']:>13,}{row['macs']:>16,}"
            )
    return "\n".join(lines)
