"""Networks and search spaces as tables and documents."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.configuration import make_space
from nas.drawing import draw
from nas.errors import usage_error
from nas.limits import format_quantity
from nas.run_folder import write_text
from search_spaces.architecture import lower
from search_spaces.genome import Decision
from search_spaces.graph import Graph
from search_spaces.identity import digest

SAMPLES = 1000


def network_document(name: str, graph: Graph) -> dict[str, Any]:
    """What ``nas show --json`` prints: name, input shape, costs and layers."""
    return {
        "name": name,
        "input_shape": [int(side) for side in graph.input_shape],
        "output_shape": [int(side) for side in graph.output_shape],
        "params": graph.params,
        "macs": graph.macs,
        "activation_bytes": graph.activation_bytes,
        "hash": digest(graph),
        "layers": [
            {
                "name": node.name,
                "op": node.primitive.op,
                "output_shape": [int(side) for side in node.shape],
                "params": node.cost.params,
                "macs": node.cost.macs,
            }
            for node in graph.nodes
        ],
    }


def network_text(document: Mapping[str, Any]) -> str:
    """The same for the eye: layers that compute, then the sums."""
    shape = "x".join(str(side) for side in document["input_shape"])
    rows = [("layer", "operation", "output", "params", "MACs", "share")]
    for layer in document["layers"]:
        if layer["op"] in {"batch_norm2d", "activation"}:
            continue
        output = "x".join(str(side) for side in layer["output_shape"])
        share = f"{100 * layer['macs'] / max(1, document['macs']):.1f} %" if layer["macs"] else ""
        params, macs = (f"{layer[key]:,}" if layer[key] else "" for key in ("params", "macs"))
        rows.append((layer["name"], layer["op"], output, params, macs, share))
    mebibytes = document["activation_bytes"] / 2**20
    note = "(batch norms and activations are left out here, and counted in the sums)"
    total = (
        f"{document['name']}, input {shape}: {document['params']:,} parameters, "
        f"{document['macs']:,} MACs, {mebibytes:.3g} MiB of float32 activations for one image"
    )
    return "\n".join([*_columns(rows), note, "", total])


def write_drawing(path: Path, graph: Graph, name: str) -> None:
    """Write a drawing of a network, as an SVG file that is not there yet.

    Raises:
        NasError: If the file has another ending or is there already (exit code 2), or cannot be
            written (5).
    """
    if path.suffix != ".svg":
        raise usage_error(f"--draw must be a file that ends in .svg, got {str(path)[:200]}")
    if path.exists():
        raise usage_error(f"--draw: {path} is there already; choose another name")
    write_text(path, draw(graph, name))


def space_document(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """What ``nas spaces NAME --json`` prints, with costs of 1,000 samples (seed 0).

    Raises:
        NasError: If the space does not fit the images or an option is unknown.
    """
    space = make_space(name, input_shape, num_classes, options)
    rng = np.random.default_rng(0)
    count = min(SAMPLES, space.genome.size)
    try:
        graphs = [lower(space.architecture(space.genome.sample_options(rng))) for _ in range(count)]
    except ValueError as error:
        raise usage_error(f"space: {error}") from error
    costs = {
        "params": sorted(graph.params for graph in graphs),
        "macs": sorted(graph.macs for graph in graphs),
    }
    distinct = len({digest(graph) for graph in graphs})
    return {
        "name": name,
        "input_shape": list(input_shape),
        "num_classes": num_classes,
        "genotypes": str(space.genome.size),
        "samples": count,
        "distinct_networks": distinct,
        "decisions": _decisions(space.genome.decisions),
        "costs": {
            key: {"smallest": values[0], "median": values[count // 2], "largest": values[-1]}
            for key, values in costs.items()
        },
    }


def space_text(document: Mapping[str, Any]) -> str:
    """The same for the eye, on one screen: decisions of the same options share a line."""
    grouped: dict[str, list[str]] = {}
    for decision in document["decisions"]:
        values = ", ".join(str(value) for value in decision["options"])
        stem = decision["name"].rpartition(".")[2]
        grouped.setdefault(f"{stem}\n{values}", []).append(decision["name"])
    rows = [("decision", "options")]
    for key, names in grouped.items():
        values = key.partition("\n")[2]
        shown = names[0] if len(names) == 1 else f"{names[0]} .. {names[-1]} ({len(names)})"
        rows.append((shown, values))
    shape = "x".join(str(side) for side in document["input_shape"])
    size = int(document["genotypes"])
    power = f"{size:,}" if size < 10**9 else f"about 10^{math.log10(size):.1f}"
    images = f"{shape} images of {document['num_classes']} classes"
    lines = [
        f"{document['name']} for {images}: {power} genotypes",
        "",
        *_columns(rows),
        "",
        f"{document['samples']:,} samples, {document['distinct_networks']:,} distinct networks",
    ]
    for key, values in document["costs"].items():
        shown = ", ".join(f"{name} {format_quantity(value)}" for name, value in values.items())
        lines.append(f"  {key:<7}{shown}")
    return "\n".join(lines)


def _decisions(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}

    def visit(inner: Sequence[Decision]) -> None:
        for decision in inner:
            values = [option.value for option in decision.options]
            found.setdefault(decision.name, {"name": decision.name, "options": values})
            for option in decision.options:
                visit(option.opens)

    visit(decisions)
    return list(found.values())


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    numeric = {place for place, name in enumerate(rows[0]) if name in {"params", "MACs", "share"}}
    return [
        "  ".join(
            cell.rjust(width) if place in numeric else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
