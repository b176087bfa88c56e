"""Networks as tables, documents and drawings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.drawing import draw
from nas.errors import usage_error
from nas.run_folder import write_text
from search_spaces.graph import Graph
from search_spaces.identity import digest

_NUMBERS = frozenset({"params", "MACs", "share", "smallest", "median", "largest"})


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
    return "\n".join([*columns(rows), note, "", total])


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


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table as lines: the first row names the columns, those of numbers stand on the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    numeric = {place for place, name in enumerate(rows[0]) if name in _NUMBERS}
    return [
        "  ".join(
            cell.rjust(width) if place in numeric else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
