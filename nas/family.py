"""A family of networks: one base scaled by powers of the same coefficients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.errors import usage_error
from nas.export import Winner, export
from nas.scaling import note
from nas.showing import columns
from search_spaces.architecture import Architecture, lower, to_document
from search_spaces.compound import Rounding, scale
from search_spaces.scaling import Coefficients


def family(
    base: Architecture,
    grown: Sequence[Coefficients],
    *,
    rounding: Rounding,
    out: Path | None,
) -> dict[str, Any]:
    """Scale a base for each of several powers, and write what comes out.

    Args:
        base: The network of power 0.
        grown: The same coefficients with the powers of the family's members.
        rounding: What scaled numbers are rounded to.
        out: Folder for one exported folder each, ``phi_<power>``, new or empty; None writes
            nothing.

    Returns:
        What ``nas scale --json`` prints: ``base`` and ``members`` with their costs.

    Raises:
        NasError: If the base cannot be scaled that far, or the folder is taken (exit code 2).
    """
    points = (grown[0]._replace(phi=0.0), *grown)
    try:
        networks = [
            scale(
                base,
                depth=point.alpha**point.phi,
                width=point.beta**point.phi,
                resolution=point.gamma**point.phi,
                rounding=rounding,
            )
            for point in points
        ]
        graphs = [lower(network) for network in networks]
    except ValueError as error:
        raise usage_error(f"--base: {error}") from error
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise usage_error(f"--out: {out} is there already; choose another folder")
    rows = []
    for point, network, graph in zip(points, networks, graphs, strict=True):
        row: dict[str, Any] = {
            "phi": point.phi,
            "formula": point.formula,
            "realised": graph.macs / max(1, graphs[0].macs),
            "input_shape": [int(side) for side in graph.input_shape],
            "params": graph.params,
            "macs": graph.macs,
            "folder": None,
        }
        if out is not None and point.phi:
            folder = out / f"phi_{point.phi:g}"
            export(Winner(graph, to_document(network)), folder)
            row["folder"] = str(folder)
        rows.append(row)
    first = grown[0]
    return {
        "title": base.title,
        **{name: getattr(first, name) for name in ("alpha", "beta", "gamma")},
        "divisor": rounding.divisor,
        "step": rounding.step,
        "note": note([first.alpha], [first.beta], [first.gamma]),
        "base": rows[0],
        "members": rows[1:],
    }


def family_text(document: Mapping[str, Any]) -> str:
    """The same for the eye."""
    rows = [
        ("phi", "input", "params", "MACs", "formula", "realised", "folder"),
        *(_cells(row) for row in (document["base"], *document["members"])),
    ]
    given = ", ".join(f"{name} {document[name]:g}" for name in ("alpha", "beta", "gamma"))
    return "\n".join([f"{document['title']}: {given}", *columns(rows)])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['phi']:g}",
        "x".join(str(side) for side in row["input_shape"]),
        f"{row['params']:,}",
        f"{row['macs']:,}",
        f"{row['formula']:.2f}",
        f"{row['realised']:.2f}",
        row["folder"] or "",
    )
