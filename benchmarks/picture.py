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
    best = summary["best"]
    macs = [asked[ordinal]["macs"] / 1e6 for ordinal in scores]
    figure, axes = plt.subplots(figsize=(8, 4.2), dpi=110)
    points = axes.scatter(macs, list(scores.values()), c=list(scores), cmap="viridis", s=28)
    figure.colorbar(points, label="trial")
    place = best["macs"] / 1e6
    axes.scatter([place], [best["search_score"]], s=150, facecolors="none", edgecolors="crimson")
    axes.annotate(
        f"winner: {best['score']:.4f} on fresh seeds,\n{best['test']['accuracy']:.4f} on test images",
        (place, best["search_score"]),
        xytext=(0.45, 0.12),
        textcoords="axes fraction",
        color="crimson",
        arrowprops={"arrowstyle": "-", "color": "crimson", "lw": 0.8},
    )
    axes.set_xscale("log")
    axes.set_xlabel("MACs for one image, millions")
    axes.set_ylabel("validation accuracy")
    axes.set_title(f"{len(scores)} children of mbconv on digits, {summary['seconds'] / 60:.0f} min")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(target)


if __name__ == "__main__":
    main()
