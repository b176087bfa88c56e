"""Compound scaling against depth, width and resolution alone, at equal realised MACs.

    python benchmarks/scaling.py --out scaling.jsonl [--data fashion-mnist] [--side 16]
        [--target 2] [--seeds 3] [--train 2000] [--validation 2000] [--epochs 6]

A small base for images of ``--side`` pixels is scaled four ways to about ``--target`` times its
MACs, at most to the resolution of the data. The four networks are chosen before anything is
trained: those nearest to a common factor that all four can reach within 1.5 %, so that they lie
within 3 % of each other. Each is trained on as many seeds, on the first images of the training
split, and scored on the first of the validation split; nothing is selected by a score, and the
test split is not read. A line is appended to ``--out`` for each training that is done; called
again, the script goes on where the file ends.
"""

import argparse
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scipy import stats

from estimators.data import ImageData, Split
from estimators.task import Classification
from estimators.training import Training
from nas import plugins
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.compound import Rounding, scale

ROUNDING = Rounding(divisor=2, step=1)
WITHIN = 0.015  # of the common factor
PAPER = {"depth": 1.2, "width": 1.1, "resolution": 1.15}  # arXiv:1905.11946, section 4


@dataclass(frozen=True)
class Arm:
    """One way of scaling, with the network that it comes to."""

    name: str
    depth: float
    width: float
    resolution: float
    realised: float
    params: int
    macs: int
    side: int


def base(channels: int, side: int, classes: int) -> Architecture:
    """Two stages of two blocks, and one of three."""
    return Architecture(
        "Base",
        (channels, side, side),
        ConvNormAct(8, activation="silu"),
        (
            (MBConv(8, expansion=2),) * 2,
            (MBConv(16, stride=2, expansion=2), MBConv(16, expansion=2)),
            (MBConv(24, stride=2, expansion=2), *(MBConv(24, expansion=2),) * 2),
        ),
        Classifier(classes, width=48, activation="silu"),
    )


def ways(name: str) -> Iterable[dict[str, float]]:
    """Factors to try for a way of scaling, finely."""
    for step in range(1, 201):
        if name == "compound":  # the paper's proportions, phi in hundredths
            yield {key: factor ** (step / 50) for key, factor in PAPER.items()}
        else:
            yield {"depth": 1.0, "width": 1.0, "resolution": 1.0, name: 1 + step / 50}


def candidates(network: Architecture, name: str, largest: int) -> list[Arm]:
    """The different networks of a way of scaling, up to a resolution and four times the MACs."""
    own = lower(network).macs
    found: dict[Architecture, Arm] = {}
    for factors in ways(name):
        scaled = scale(network, **factors, rounding=ROUNDING)
        if scaled in found:
            continue
        graph = lower(scaled)
        side = scaled.input_shape[1]
        if side > largest or graph.macs > 4 * own:
            break
        realised = graph.macs / own
        found[scaled] = Arm(
            name, **factors, realised=realised, params=graph.params, macs=graph.macs, side=side
        )
    return list(found.values())


def arms(network: Architecture, *, target: float, largest: int) -> list[Arm]:
    """The base, and one network of each way at a common factor near the target."""
    names = ("compound", "depth", "width", "resolution")
    found = {name: candidates(network, name, largest) for name in names}
    common = [target * (1 + change / 200) for change in range(-60, 61)]
    sets = []
    for factor in common:
        nearest = [
            min(found[name], key=lambda arm: abs(arm.realised / factor - 1)) for name in names
        ]
        away = max(abs(arm.realised / factor - 1) for arm in nearest)
        if away <= WITHIN:
            sets.append((abs(factor / target - 1), nearest))
    if not sets:
        raise SystemExit("no factor near the target is reached by all four; take another --target")
    own = lower(network)
    first = Arm("base", 1, 1, 1, 1.0, own.params, own.macs, network.input_shape[1])
    return [first, *min(sets, key=lambda one: one[0])[1]]


def subset(images: ImageData, train: int, validation: int) -> ImageData:
    """The first images of both splits."""

    def first(split: Split, count: int) -> Split:
        return Split(split.images[:count], split.labels[:count])

    smaller = replace(
        images,
        train=first(images.train, train),
        validation=first(images.validation, validation),
        groups=None,
    )
    return replace(smaller, fingerprint=f"{images.fingerprint}:{train}:{validation}")


def read(path: Path, setup: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The finished trainings of an earlier call with the same setup; a torn last line is left."""
    if not path.exists():
        return []
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    path.write_text("".join(whole))
    rows = [json.loads(line) for line in whole]
    if any(row["setup"] != setup for row in rows):
        raise SystemExit(f"{path} is of another setup; take another --out")
    return rows


def report(chosen: Sequence[Arm], rows: Sequence[Mapping[str, Any]]) -> None:
    """Means with 95 % intervals, noise pooled over all networks, and differences to compound."""
    scores = {
        arm.name: [r["accuracy"] for r in rows if r["arm"]["name"] == arm.name] for arm in chosen
    }
    freedom = sum(len(group) - 1 for group in scores.values())
    squares = sum((len(group) - 1) * statistics.variance(group) for group in scores.values())
    noise = math.sqrt(squares / freedom)
    quantile = float(stats.t.ppf(0.975, freedom))
    compound = statistics.mean(scores["compound"])
    for arm in chosen:
        group = scores[arm.name]
        half = quantile * noise / math.sqrt(len(group))
        mean = statistics.mean(group)
        line = (
            f"{arm.name:<11} x{arm.realised:.3f} MACs {arm.params:>7,} parameters, {arm.side} px: "
            f"accuracy {mean:.4f} +- {half:.4f} ({len(group)} seeds)"
        )
        if arm.name != "compound":
            line += f"; compound minus this {compound - mean:+.4f} +- {half * math.sqrt(2):.4f}"
        print(line)
    print(f"noise over seeds {noise:.4f}, {freedom} degrees of freedom")


def main() -> None:
    """Choose the networks, train what is not trained yet, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--target", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--validation", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds must be at least 2, for the noise")
    images = subset(plugins.load("datasets", options.data)(), options.train, options.validation)
    channels, *sides = images.input_shape
    network = base(channels, options.side, len(images.classes))
    chosen = arms(network, target=options.target, largest=min(sides))
    keys = ("data", "side", "target", "train", "validation", "epochs")
    setup = {key: getattr(options, key) for key in keys}
    rows = read(options.out, setup)
    done = {(row["arm"]["name"], row["seed"]) for row in rows}
    training = Training(epochs=options.epochs)
    training.prepare(images, Classification(len(images.classes)))
    for seed in range(options.seeds):
        for arm in chosen:
            if (arm.name, seed) in done:
                continue
            scaled = scale(
                network,
                depth=arm.depth,
                width=arm.width,
                resolution=arm.resolution,
                rounding=ROUNDING,
            )
            score = training.evaluate(lower(scaled), fidelity=1.0, seed=seed, device="cpu")
            row = {"setup": setup, "arm": asdict(arm), "seed": seed, **score.metrics}
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            rows.append(row)
            print(f"{arm.name}, seed {seed}: accuracy {score.metrics['accuracy']:.4f}", flush=True)
    report(chosen, [row for row in rows if row["seed"] < options.seeds])


if __name__ == "__main__":
    main()
