"""Which learning rate suits which family of blocks: children of one family, trained at each rate.

    python benchmarks/family_rates.py [--data digits fashion] [--epochs 3 12] [--children 4]
        [--seeds 1] [--rates 1e-3 2e-3 4e-3 8e-3 1.6e-2] [--out rates.jsonl] [--report]

Children are of the ``mixed`` space with all stages of one family, so that families share stem,
skeleton and head. Those that cost more than ``MOST_MACS`` for a pixel are left out. Fashion-MNIST
is at 14x14: 1,400 images to train on. Scores are accuracies on validation and test images
together, 540 of the digits and 1,200 of Fashion-MNIST.

Each training is a line of ``--out``; what stands there is not done again. The table tells, for
each data set, all of them together, and each length and family, the mean accuracy at the common
rate, and what each other rate has more, paired by child and seed, with an interval of 95 % over
children.
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
from scipy import stats

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
TOGETHER = "together"  # of all data sets
FASHION_IMAGES, FASHION_TRAINED = 4_000, 1_400

# Accuracy of each child, told by data set and number, and seed at each rate.
Scores = Mapping[tuple[tuple[str, int], int], Mapping[float, float]]


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


def against_common(scores: Scores, rate: float) -> tuple[float, float]:
    """What a rate gains over the common one: the mean over children, and half its interval.

    The interval is that of Student's t for 95 %; seeds of one child are averaged first.
    """
    gains: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (child, _), line in scores.items():
        gains[child].append(line[rate] - line[COMMON])
    means = [statistics.mean(found) for found in gains.values()]
    half = float(stats.t.ppf(0.975, len(means) - 1)) * statistics.stdev(means) / len(means) ** 0.5
    return statistics.mean(means), half


def report(lines: Sequence[Mapping[str, Any]], rates: Sequence[float]) -> None:
    """Print a row where two children of a family have been trained at each of the rates."""
    tables: dict[tuple[str, int, str], dict[tuple[tuple[str, int], int], dict[float, float]]] = {}
    for line in lines:
        child = line["data"], line["child"]
        for data in (line["data"], TOGETHER):
            table = tables.setdefault((data, line["epochs"], line["family"]), {})
            table.setdefault((child, line["seed"]), {})[line["rate"]] = line["accuracy"]
    for (data, epochs, family), table in sorted(tables.items()):
        scores = {
            place: {rate: line[rate] for rate in rates}
            for place, line in table.items()
            if all(rate in line for rate in rates)
        }
        children = {child for child, _ in scores}
        if len(children) < 2:
            continue
        common = statistics.mean(line[COMMON] for line in scores.values())
        gains = [(rate, *against_common(scores, rate)) for rate in rates if rate != COMMON]
        others = "  ".join(f"{rate:g}: {gain:+.3f} +- {half:.3f}" for rate, gain, half in gains)
        print(
            f"{data:8}{epochs:3} {family:9} {COMMON:g}: {common:.3f}  {others}  "
            f"({len(children)} children, {len(scores)} trainings at each rate)"
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
    report(lines, options.rates)


if __name__ == "__main__":
    main()
