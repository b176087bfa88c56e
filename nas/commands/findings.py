"""What a search prints when it has ended, from its ``summary.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.commands.flags import answer
from nas.limits import format_quantity, format_value
from search_spaces.strict_json import dumps


def report(folder: Path, *, as_json: bool) -> None:
    """Print what a search found, from its ``summary.json``."""
    from nas.run_folder import AUDIT, AUDIT_DOCUMENT, SUMMARY, read_json  # noqa: PLC0415 - as in search

    document = read_json(folder / SUMMARY, what="summary")
    answer(dumps(document, indent=2) if as_json else _found(document, folder))
    audit = folder / AUDIT / AUDIT_DOCUMENT
    if document.get("audit") is not None and audit.is_file() and not as_json:
        from nas.audit import report as audit_report  # noqa: PLC0415 - numpy

        found = read_json(audit, what="audit")
        answer("\n" + audit_report.text(found))
    if "scaling" in document and not as_json:
        from nas.scaling import findings_text  # noqa: PLC0415 - torch

        answer("\n" + findings_text(document["scaling"], folder))


def _found(document: Mapping[str, Any], folder: Path) -> str:
    """What a search ends with."""
    if document["front"] is not None:
        return _found_front(document, folder)
    counts = ", ".join(f"{count} {state}" for state, count in document["states"].items())
    lines = [
        f"\n{document['ended']}: {counts}, {document['seconds']:.0f} s",
        *_winner(document),
        "",
    ]
    files = {
        "best/model.py": "the network, plain PyTorch",
        "best/model.safetensors": "its weights",
        "best/README.md": "how to use it, and every figure",
        "best/architecture.svg": "a drawing of it",
        "summary.json": "the same for scripts",
        "study.db": "every trial, for optuna-dashboard",
    }
    width = max(len(str(folder / name)) for name in files)
    lines += [f"{folder / name!s:<{width}}  {what}" for name, what in files.items()]
    return "\n".join(lines)


def _winner(document: Mapping[str, Any]) -> list[str]:
    """What was handed over, and what it was compared with."""
    from nas import comparison as comparisons  # noqa: PLC0415 - torch
    from nas.run_folder import SEARCHED  # noqa: PLC0415 - pydantic

    best, metric = document["best"], document["objective"]
    reads = comparisons.times_read(
        best["test_reads"], compared=document.get("comparison") is not None
    )
    costs = f"{format_quantity(best['params'])} parameters, {format_quantity(best['macs'])} MACs"
    test = f"  {metric} {best['test'][metric]:.4f} on test images, {reads}"
    comparison, final = document.get("comparison"), best.get("final_training")
    compared = [] if comparison is None else comparisons.text(comparison)
    if best.get("reference") is not None:
        return [
            f"best: {best['reference']}, a published network, {costs}",
            test,
            f"  {metric} {best['score']:.4f} on validation images after {final['epochs']} epochs",
            f"  better than what the search found, which is in {SEARCHED}/",
            "compared:",
            *(f"  {line}" for line in compared),
        ]
    searched = f"{best['search_score']:.4f} in the search"
    if best["search_metric"] != metric:
        searched = f"{best['search_metric']} {searched}"
    scores = f"mean of {len(best['scores'])} fresh seeds"
    lines = [
        f"best: trial {best['trial']}, {costs}",
        test,
        f"  {metric} {best['score']:.4f} on validation images, {scores} ({searched})",
    ]
    if final is not None:
        lines.append(f"  {_final(final, metric)}")
    if compared:
        lines += ["compared with the best published network in question:"]
        lines += [f"  {line}" for line in compared]
    return lines


def _found_front(document: Mapping[str, Any], folder: Path) -> str:
    """What a search for several objectives ends with: a line for each member of its front."""
    metric, names = document["objective"], document["objectives"]
    counts = ", ".join(f"{count} {state}" for state, count in document["states"].items())
    front, seeds = document["front"], len(document["front"][0]["scores"])
    size = f"{len(front)} networks, hypervolume {document['hypervolume']:.4f}"
    lines = [
        f"\n{document['ended']}: {counts}, {document['seconds']:.0f} s",
        f"front: {size}; {metric} on validation images, mean of {seeds} fresh seeds",
    ]
    for member in front:
        values = ", ".join(format_value(name, member["objectives"][name]) for name in names)
        test = f"{member['test'][metric]:.4f} on test images"
        lines.append(f"  trial {member['trial']}: {values} ({test})")
    files = {
        **{f"{member['folder']}/": "one of them, plain PyTorch" for member in front[:1]},
        "front.svg": "a drawing of the front",
        "summary.json": "the same for scripts",
        "study.db": "every trial, for optuna-dashboard",
    }
    width = max(len(str(folder / name)) for name in files)
    return "\n".join([*lines, "", *(f"{folder / n!s:<{width}}  {w}" for n, w in files.items())])


def _final(final: Mapping[str, Any], metric: str) -> str:
    """What became of the final training."""
    if final["score"] is None:
        return "the final training failed; the weights it was chosen by stay"
    found = (
        f"{metric} {final['score']:.4f} on them after {final['epochs']} epochs of final training"
    )
    return found if final["used"] else f"{found}; not used, as it was better before"
