"""Which learning rate suits which family of blocks: children of one family, trained at each rate.

    python benchmarks/family_rates.py [--data digits] [--epochs 3] [--children 2] [--seeds 1]
        [--images 2000] [--rates 2e-3 4e-3 8e-3 1.6e-2]

For each family and rate: mean validation accuracy over the same sampled children and seeds. The
best rate of a family is better known by the difference to the next one than by its place; run it
on more than one data set and length of training before believing it. Published images are the
first ones of their training split, at half size.
"""

import argparse
import statistics

import numpy as np

from estimators.data import ImageData, digits, from_arrays
from estimators.published import fashion_mnist
from estimators.task import Classification
from estimators.training import Training
from nas import plugins
from search_spaces.architecture import lower
from search_spaces.graph import Graph

FAMILIES = ("mbconv", "residual", "dense", "fractal")
HALVED = 2


def fashion(count: int) -> ImageData:
    """The first ``count`` images of Fashion-MNIST for training and validation, at 14x14."""
    split = fashion_mnist().train
    images = split.images[:count].float()
    halved = images.unfold(2, HALVED, HALVED).unfold(3, HALVED, HALVED).mean(dim=(-1, -2))
    scaled = (halved - halved.min()) / (halved.max() - halved.min())
    return from_arrays(scaled[:, 0].numpy(), split.labels[:count].numpy())


def children(name: str, data: ImageData, count: int) -> list[Graph]:
    """Children drawn alike from a space of one family."""
    shape = tuple(data.train.images.shape[1:])
    space = plugins.load("search_spaces", name)(shape, len(data.classes))
    rng = np.random.default_rng(0)
    return [lower(space.architecture(space.genome.sample_options(rng))) for _ in range(count)]


def accuracy(graph: Graph, data: ImageData, rate: float, *, epochs: int, seed: int) -> float:
    """Of one child trained once."""
    training = Training(epochs=epochs, learning_rate=rate)
    training.prepare(data, Classification(len(data.classes)))
    found = training.evaluate(graph, fidelity=1.0, seed=seed, device="cpu")
    return found.metrics["accuracy"]


def main() -> None:
    """Print a row for each family as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("digits", "fashion"), default="digits")
    parser.add_argument("--images", type=int, default=2_000, help="of Fashion-MNIST")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--children", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3, 4e-3, 8e-3, 1.6e-2])
    options = parser.parse_args()
    data = digits() if options.data == "digits" else fashion(options.images)
    steps = options.epochs * (len(data.train) // 64)
    print(f"{options.data}, {steps} steps, {options.children} children x {options.seeds} seeds")
    for name in FAMILIES:
        graphs = children(name, data, options.children)
        for rate in options.rates:
            scores = [
                accuracy(graph, data, rate, epochs=options.epochs, seed=seed)
                for graph in graphs
                for seed in range(options.seeds)
            ]
            each = " ".join(f"{score:.3f}" for score in scores)
            print(f"{name:10} {rate:g}  {statistics.mean(scores):.4f}  ({each})", flush=True)


if __name__ == "__main__":
    main()
