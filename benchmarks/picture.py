"""The picture in the README: every child of one run, accuracy against MACs. Needs matplotlib.

python benchmarks/picture.py runs/mbconv-1 docs/digits.png
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from nas.journal import read_events


def main() -> None:
    """Read a run folder, write a picture."""
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    asked, scores = {}, {}
    for event in read_events(folder / "events.jsonl"):
        if event["event"] == "asked":
            asked[event["ordinal"]] = event
        elif event["event"] == "finished" and event["state"] == "complete":
            scores[event["ordinal"]] = event["metrics"]["accuracy"]
    summary = json.loads((folder / "summary.json").read_text())
    best = summary["searched"] or summary["best"]
    macs = [asked[ordinal]["macs"] / 1e6 for ordinal in scores]
    figure, axes = plt.subplots(figsize=(8, 4.2), dpi=110)
    points = axes.scatter(macs, list(scores.values()), c=list(scores), cmap="viridis", s=28)
    figure.colorbar(points, label="trial")
    place = best["macs"] / 1e6
    axes.scatter([place], [best["search_score"]], s=150, facecolors="none", edgecolors="crimson")
    test = best["test"]["accuracy"]
    text = f"circled: the winner, {best['score']:.4f} on fresh seeds,\n{test:.4f} on test images"
    axes.text(0.03, 0.87, text, transform=axes.transAxes, color="crimson")
    axes.set_xscale("log")
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if min(macs) < tick < max(macs)]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("MACs for one image, millions")
    axes.set_ylabel("validation accuracy")
    axes.set_title(f"{len(scores)} children of mbconv on digits, {summary['seconds'] / 60:.0f} min")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(target)


if __name__ == "__main__":
    main()
