"""How a folder stands that is of no search: a training, an exported network, a scaled family."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from estimators.snapshot import curve_of
from nas.errors import NasError
from nas.export import ARCHITECTURE, CARD, WEIGHTS
from nas.limits import format_quantity
from nas.lock import held, holder
from nas.run_folder import RUN, SUMMARY, read_json
from nas.status import WATCH_EVERY
from nas.terminal import printable
from nas.training import CHECKPOINT, TRAINING
from search_spaces import graph_json
from search_spaces.strict_json import JsonError, member


def document(folder: Path) -> dict[str, Any] | None:
    """What ``nas status --json`` prints of such a folder; None for any other.

    Returns:
        ``folder``, ``kind`` (``training``, ``network`` or ``family``), ``state``, and what there is
        to say of that kind.

    Raises:
        NasError: If it is damaged (exit code 4).
    """
    if os.path.isfile(folder / RUN) or not os.path.isdir(folder):  # noqa: PTH113, PTH112 - odd names
        return None
    members = sorted(path.parent for path in folder.glob(f"phi_*/{ARCHITECTURE}"))
    if (folder / TRAINING).is_file():
        return _training(folder)
    if (folder / ARCHITECTURE).is_file():
        return {"folder": str(folder), "kind": "network", "state": "finished", **_network(folder)}
    if members:
        rows = [{"member": member.name, **_network(member)} for member in members]
        return {"folder": str(folder), "kind": "family", "state": "finished", "members": rows}
    return None


def watched(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """The same once no process works on it."""
    while found["state"] == "running":
        time.sleep(WATCH_EVERY)
        now = document(folder)
        if now is None:  # it was moved or deleted
            break
        found = now
    return found


def text(found: Mapping[str, Any]) -> str:
    """The same for the eye."""
    folder = found["folder"]
    if found["kind"] == "training":
        return "\n".join(_training_lines(found, folder))
    if found["kind"] == "family":
        return "\n".join(
            [
                f"{folder}: a scaled family of {len(found['members'])}",
                *(f"  {row['member']}: {_cost(row)}" for row in found["members"]),
            ]
        )
    kept = "with weights" if found["weights"] else "source alone"
    return "\n".join(
        [
            f"{folder}: an exported network, {kept}, {_cost(found)}",
            *(f"  {name}: {printable(value)[:300]}" for name, value in found["figures"].items()),
        ]
    )


def _training(folder: Path) -> dict[str, Any]:
    """A folder of ``nas train``."""
    given = read_json(folder / TRAINING, what="training")
    recipe = given.get("recipe") if isinstance(given, dict) else None
    epochs = recipe.get("epochs") if isinstance(recipe, dict) else None
    if type(epochs) is not int:
        raise NasError(f"training: {folder / TRAINING} has no epochs; it is damaged", exit_code=4)
    found = {"folder": str(folder), "kind": "training", "epochs": epochs}
    if (folder / SUMMARY).is_file():
        state, figures = "finished", _figures(folder / SUMMARY)
    else:
        state, curve = "running" if held(folder) else "stopped", curve_of(folder / CHECKPOINT)
        validation = dict(curve[-1].validation) if curve else {}
        figures = {"done": len(curve), "validation": validation}
    return {
        **found,
        "state": state,
        **figures,
        "holder": holder(folder) if state == "running" else None,
    }


def _figures(path: Path) -> dict[str, Any]:
    """What the summary of a training says."""
    given = read_json(path, what="summary")
    try:
        return {
            "done": member(given, "epochs", int, "document"),
            "validation": member(given, "validation", dict, "document"),
            "test": member(member(given, "test", dict, "document"), "metrics", dict, "test"),
            "test_reads": member(given, "test_reads", int, "document"),
        }
    except JsonError as error:
        raise NasError(f"summary: {path}: {error}", exit_code=4) from error


def _training_lines(found: Mapping[str, Any], folder: str) -> list[str]:
    lines = [f"{folder}: a training, {found['state']}, {found['done']} of {found['epochs']} epochs"]
    for name, label in (("validation", "validation images"), ("test", "test images")):
        if found.get(name):
            values = ", ".join(f"{metric} {value:.4f}" for metric, value in found[name].items())
            lines.append(f"  {label}: {values}")
    if found["state"] == "stopped":
        lines.append("  the command that began it goes on with it")
    return lines


def _network(folder: Path) -> dict[str, Any]:
    """What ``architecture.json`` of an exported folder says."""
    path = folder / ARCHITECTURE
    given = read_json(path, what="architecture")
    try:
        graph = graph_json.from_document(member(given, "graph", dict, "document"))
        figures = member(given, "figures", dict, "document") if "figures" in given else {}
    except JsonError as error:
        raise NasError(f"architecture: {path}: {error}", exit_code=4) from error
    return {
        "input_shape": [int(side) for side in graph.input_shape],
        "params": graph.params,
        "macs": graph.macs,
        "weights": (folder / WEIGHTS).is_file(),
        "card": str(folder / CARD),
        "figures": {str(name): str(value) for name, value in figures.items()},
    }


def _cost(row: Mapping[str, Any]) -> str:
    shape = "x".join(str(side) for side in row["input_shape"])
    params, macs = format_quantity(row["params"]), format_quantity(row["macs"])
    return f"{shape}, {params} parameters, {macs} MACs"
