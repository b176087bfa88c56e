"""Which learning rate suits which family of blocks: children of one family, trained at each rate.

    python benchmarks/family_rates.py [--data digits fashion] [--epochs 3 12] [--children 4]
        [--seeds 1] [--rates 1e-3 2e-3 4e-3 8e-3 1.6e-2] [--out rates.jsonl] [--report]

Children are of the ``mixed`` space with all stages of one family, so that families share stem,
skeleton and head. Those that cost more than ``MOST_MACS`` for a pixel are left out. Fashion-MNIST
is at 14x14: 1,400 images to train on. Scores are accuracies on validation and test images
together, 540 of the digits and 1,200 of Fashion-MNIST.

Each training is a line of ``--out``; what stands there is not done again. The table tells, for
each data set, length and family, the mean accuracy at each rate, and what the common rate costs:
the mean accuracy that the family's best rate has more. The best rate is taken from the *other*
children, so that the difference is not made by the choice; its interval is that of a bootstrap
over children. The seeds' own standard deviation stands beside it.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from estimators.data import ImageData, Split, digits, from_arrays
from estimators.published import fashion_mnist
from estimators.task import Classification
from estimators.training import Training
from search_spaces.architecture import lower
from search_spaces.graph import Graph
from search_spaces.mixed import MixedSpace

FAMILIES = ("mbconv", "residual", "dense", "fractal")
COMMON = 4e-3
RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
MOST_MACS = 30_000  # for a pixel of the image: cheap enough for hundreds of trainings
FASHION_IMAGES, FASHION_TRAINED = 4_000, 1_400
DRAWS = 2_000  # of a bootstrap

# Accuracy of each child and seed at each rate, of one data set, length and family.
Scores = Mapping[tuple[int, int], Mapping[float, float]]


def images(name: str) -> ImageData:
    """A small data set whose validation images are those of the test, too."""
    if name == "digits":
        data, trained = digits(), None
    else:
        split = fashion_mnist().train
        quarters = torch.nn.functional.avg_pool2d(split.images[:FASHION_IMAGES].float(), 2)
        scaled = (quarters - quarters.min()) / (quarters.max() - quarters.min())
        data = from_arrays(scaled[:, 0].numpy(), split.labels[:FASHION_IMAGES].numpy())
        trained = FASHION_TRAINED
    train = Split(data.train.images[:trained], data.train.labels[:trained])
    scored = Split(
        torch.cat([data.validation.images, data.test.images]),
        torch.cat([data.validation.labels, data.test.labels]),
    )
    return replace(data, train=train, validation=scored)


def children(family: str, data: ImageData, count: int) -> list[Graph]:
    """The first children of the space whose stages are all of one family."""
    channels, height, width = data.input_shape
    space = MixedSpace((channels, height, width), len(data.classes))
    rng = np.random.default_rng(0)
    found: list[Graph] = []
    while len(found) < count:
        genotype = space.genome.sample_options(rng)
        if all(option == family for name, option in genotype.answers if name.endswith(".family")):
            graph = lower(space.architecture(genotype))
            if graph.macs <= MOST_MACS * height * width:
                found.append(graph)
    return found


def accuracy(graph: Graph, data: ImageData, rate: float, *, epochs: int, seed: int) -> float:
    """Of one child trained once."""
    training = Training(epochs=epochs, learning_rate=rate)
    training.prepare(data, Classification(len(data.classes)))
    found = training.evaluate(graph, fidelity=1.0, seed=seed, device="cpu")
    return found.metrics["accuracy"]


def measure(options: argparse.Namespace, done: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    """The trainings that are not done, by seed and child before family and rate."""
    names = ("data", "epochs", "family", "child", "seed", "rate")
    known = {tuple(line[name] for name in names) for line in done}
    for data_name in options.data:
        data = images(data_name)
        graphs = {family: children(family, data, options.children) for family in FAMILIES}
        for epochs, seed, child, family, rate in product(
            options.epochs, range(options.seeds), range(options.children), FAMILIES, options.rates
        ):
            place = (data_name, epochs, family, child, seed, rate)
            if place in known:
                continue
            graph, begin = graphs[family][child], time.process_time()
            score = accuracy(graph, data, rate, epochs=epochs, seed=seed)
            line = dict(zip(names, place, strict=True)) | {"accuracy": score, "macs": graph.macs}
            yield line | {"seconds": time.process_time() - begin}


def loss_of_common(scores: Scores, rng: np.random.Generator) -> tuple[float, float, float]:
    """What the common rate costs, with its interval of 95 %.

    The best rate for a child is that of all other children.
    """
    by_child: dict[int, list[Mapping[float, float]]] = defaultdict(list)
    for (child, _), line in scores.items():
        by_child[child].append(line)
    means = {
        child: {rate: statistics.mean(line[rate] for line in lines) for rate in lines[0]}
        for child, lines in by_child.items()
    }
    gains = []
    for child, own in means.items():
        others = [line for other, line in means.items() if other != child]
        best = max(own, key=lambda rate: statistics.mean(line[rate] for line in others))
        gains.append(own[best] - own[COMMON])
    drawn = rng.choice(gains, size=(DRAWS, len(gains))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return statistics.mean(gains), float(low), float(high)


def seed_noise(scores: Scores) -> float | None:
    """Standard deviation between seeds of one child at one rate, pooled; None with one seed."""
    values: dict[tuple[int, float], list[float]] = defaultdict(list)
    for (child, _), line in scores.items():
        for rate, value in line.items():
            values[child, rate].append(value)
    variances = [statistics.variance(found) for found in values.values() if len(found) > 1]
    return statistics.mean(variances) ** 0.5 if variances else None


def report(lines: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each data set, length and family of which two children are complete."""
    tables: dict[tuple[str, int, str], dict[tuple[int, int], dict[float, float]]] = {}
    for line in lines:
        table = tables.setdefault((line["data"], line["epochs"], line["family"]), {})
        table.setdefault((line["child"], line["seed"]), {})[line["rate"]] = line["accuracy"]
    rng = np.random.default_rng(0)
    for (data, epochs, family), table in sorted(tables.items()):
        rates = sorted({rate for line in table.values() for rate in line})
        scores = {place: line for place, line in table.items() if len(line) == len(rates)}
        if len({child for child, _ in scores}) < 2:
            continue
        means = [statistics.mean(line[rate] for line in scores.values()) for rate in rates]
        each = " ".join(f"{rate:g}:{mean:.3f}" for rate, mean in zip(rates, means, strict=True))
        gain, low, high = loss_of_common(scores, rng)
        noise = seed_noise(scores)
        seeds = "" if noise is None else f", seeds {noise:.3f}"
        print(
            f"{data} {epochs:2} {family:9} {each}  "
            f"costs {gain:+.3f} ({low:+.3f} to {high:+.3f}, {len(scores)} trainings{seeds})"
        )


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["digits", "fashion"])
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 12])
    parser.add_argument("--children", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--out", type=Path, default=Path("rates.jsonl"))
    parser.add_argument("--report", action="store_true", help="of what stands there alone")
    options = parser.parse_args()
    text = options.out.read_text() if options.out.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    if not options.report:
        with options.out.open("a") as out:
            for line in measure(options, lines):
                out.write(json.dumps(line) + "\n")
                out.flush()
                lines.append(line)
    report(lines)


if __name__ == "__main__":
    main()
