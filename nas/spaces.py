"""A search space on one screen: its decisions, its size, and what its networks cost."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nas.construction import make_space
from nas.errors import usage_error
from nas.limits import format_quantity
from nas.showing import columns
from search_spaces.architecture import lower
from search_spaces.identity import digest

SAMPLES = 1000
WIDTH = 100  # of the screen, in characters
MOST_ROWS = 28  # of decisions


def space_document(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """What ``nas spaces NAME --json`` prints, with costs of 1,000 samples (seed 0).

    The samples are uniform over the options of each decision. ``distinct_share`` is that of
    networks with digests of their own among the different genotypes in the samples: an upper
    bound for the space, whose other genotypes may stand for the same networks.

    Raises:
        NasError: If the space does not fit the images or an option is unknown.
    """
    space = make_space(name, input_shape, num_classes, options)
    rng = np.random.default_rng(0)
    count = min(SAMPLES, space.genome.size)
    genotypes = [space.genome.sample_options(rng) for _ in range(count)]
    costs: dict[str, list[int]] = {"params": [], "macs": []}
    digests = set()
    for genotype in genotypes:  # one graph at a time: a thousand of them fill the memory
        try:
            graph = lower(space.architecture(genotype))
        except ValueError as error:
            raise usage_error(f"space: {error}") from error
        costs["params"].append(graph.params)
        costs["macs"].append(graph.macs)
        digests.add(digest(graph))
    different, distinct = len(set(genotypes)), len(digests)
    return {
        "name": name,
        "input_shape": list(input_shape),
        "num_classes": num_classes,
        "genotypes": str(space.genome.size),
        "samples": count,
        "distinct_genotypes": different,
        "distinct_networks": distinct,
        "distinct_share": distinct / different,
        "decisions": [
            {"name": name, "options": list(space.genome.values(name))}
            for name in space.genome.names
        ],
        "costs": {
            key: {"smallest": values[0], "median": values[count // 2], "largest": values[-1]}
            for key, values in ((key, sorted(found)) for key, found in costs.items())
        },
    }


def space_text(document: Mapping[str, Any]) -> str:
    """The same for the eye, on one screen of 100 columns and 40 lines."""
    shape = "x".join(str(side) for side in document["input_shape"])
    size = int(document["genotypes"])
    power = f"{size:,}" if size < 10**9 else f"about 10^{math.log10(size):.1f}"
    images = f"{shape} images of {document['num_classes']} classes"
    share = f"{100 * document['distinct_share']:.1f} %"
    costs: list[tuple[str, ...]] = [("", "smallest", "median", "largest")]
    for key, word in (("params", "parameters"), ("macs", "MACs")):
        costs.append((word, *(format_quantity(value) for value in document["costs"][key].values())))
    return "\n".join(
        [
            f"{document['name']} for {images}: {power} genotypes",
            "",
            *columns([("decision", "options"), *_rows(document["decisions"])]),
            "",
            f"{document['samples']:,} samples: {share} of the different genotypes among them are",
            "networks of their own",
            *columns(costs),
        ]
    )


def _rows(decisions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Decisions whose names differ in numbers share a row, where their options are the same.

    Where that leaves too many rows for a screen, their options may differ too.
    """
    grouped: dict[tuple[object, ...], list[Mapping[str, Any]]] = {}
    for alike in (True, False):
        grouped = {}
        for decision in decisions:
            name = re.sub(r"\d+", "#", decision["name"])
            key = (name, repr(decision["options"])) if alike else (name,)
            grouped.setdefault(key, []).append(decision)
        if len(grouped) <= MOST_ROWS:
            break
    groups = list(grouped.values())
    names = [_pattern([decision["name"] for decision in group]) for group in groups[:MOST_ROWS]]
    room = WIDTH - 2 - max(len(name) for name in names)
    rows = [
        (name, _options([decision["options"] for decision in group], room))
        for name, group in zip(names, groups, strict=False)
    ]
    more = len(groups) - MOST_ROWS
    return [*rows, (f"and {more:,} more", "")] if more > 0 else rows


def _pattern(names: Sequence[str]) -> str:
    """One name for several that differ in numbers: ``stage0-2,5.kernel``, at most 48 characters."""
    parts = [re.split(r"(\d+)", name) for name in names]
    shown = [
        _ranges({int(part) for part in column}) if place % 2 else column[0]
        for place, column in enumerate(zip(*parts, strict=True))
    ]
    combined = math.prod(
        len(set(column)) for place, column in enumerate(zip(*parts, strict=True)) if place % 2
    )
    text = "".join(shown) + (f" ({len(names)} of these)" if combined != len(names) else "")
    return text if len(text) <= 48 else f"{text[:45]}..."


def _ranges(numbers: Iterable[int]) -> str:
    """Whole numbers in short: ``0-2,5``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _options(options: Sequence[Sequence[Any]], room: int) -> str:
    """The options of a row, or those of all its decisions where they differ."""
    values = list(dict.fromkeys(value for part in options for value in part))
    note = "" if all(part == options[0] for part in options) else "  (each some of these)"
    text = ", ".join(str(value) for value in values) + note
    if len(text) <= room:
        return text
    last = f", .. {values[-1]} ({len(values)}){note}"
    kept = ""
    for value in values[:-1]:
        longer = f"{kept}, {value}" if kept else str(value)
        if len(longer) + len(last) > room:
            break
        kept = longer
    return f"{kept}{last}" if kept else f"{len(values)} options"
