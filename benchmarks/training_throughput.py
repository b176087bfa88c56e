"""How much faster children of a space train here than in a plain loop.

    python benchmarks/training_throughput.py [--space fractal] [--pairs 40] [--drop-path 0.15]
        [--precision bfloat16]

The plain loop is what most people write: float32 in the plain layout, a ``DataLoader``, AdamW, a
step for each batch, every path of the network. Ours is the inner loop of ``Training``. Both train
the same child, one of middling MACs, on random images of 28x28 pixels in batches of 128, in one
thread. The ratio of images per second of CPU time is the median over pairs, taken in turn after
one round of warm-up, with its quartiles.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from estimators.data import ImageData, from_arrays
from estimators.task import Classification
from estimators.training import Training, _Child
from nas import plugins
from search_spaces.architecture import lower
from search_spaces.graph import Graph
from search_spaces.modules import build

SIDE, CLASSES, BATCH = 28, 10, 128
LARGEST_MACS = 60e6  # of the child, so that a pair takes seconds


def random_images(count: int) -> ImageData:
    """Images whose training split is ``count`` or a little more."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(2 * count, SIDE, SIDE), dtype=np.uint8)
    return from_arrays(images, np.arange(2 * count) % CLASSES)


def middling(name: str) -> Graph:
    """The child of median MACs among those of 101 samples that read images of full size."""
    space = plugins.load("search_spaces", name)((1, SIDE, SIDE), CLASSES)
    rng = np.random.default_rng(0)
    graphs = [lower(space.architecture(space.genome.sample_options(rng))) for _ in range(101)]
    same = [g for g in graphs if g.input_shape[1] == SIDE and g.macs <= LARGEST_MACS]
    return sorted(same, key=lambda graph: graph.macs)[len(same) // 2]


def plain_loop(graph: Graph, data: ImageData, steps: int) -> Callable[[], None]:
    """Some steps of an ordinary loop."""
    model = build(graph).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images = TensorDataset(data.train.images, data.train.labels)
    loader = DataLoader(images, batch_size=BATCH, shuffle=True, drop_last=True)
    loss_of = nn.CrossEntropyLoss()

    def run() -> None:
        for number, (chosen, labels) in enumerate(loader):
            if number == steps:
                return
            loss = loss_of(model(chosen), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def our_loop(graph: Graph, data: ImageData, steps: int, **options: Any) -> Callable[[], None]:
    """As many steps of ours; each call goes on where the last one stopped."""
    training = Training(epochs=1_000, batch_size=BATCH, **options)
    training.prepare(data, Classification(CLASSES))
    child = _Child(graph, *training._ready(), seed=0, device="cpu")  # noqa: SLF001 - what is timed
    done = 0

    def run() -> None:
        nonlocal done
        child._train(done, done + steps, 1.0)  # noqa: SLF001 - what is timed
        done += steps

    return run


def seconds(action: Callable[[], None]) -> float:
    """CPU time of one call."""
    begin = time.process_time()
    action()
    return time.process_time() - begin


def main() -> None:
    """Print the child, both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="fractal")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=4, help="of one measurement")
    parser.add_argument("--drop-path", type=float, default=0.0)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data, graph = random_images(options.steps * BATCH), middling(options.space)
    plain = plain_loop(graph, data, options.steps)
    recipe = {"drop_path": options.drop_path, "precision": options.precision}
    ours = our_loop(graph, data, options.steps, **recipe)
    plain(), ours()
    pairs = [(seconds(plain), seconds(ours)) for _ in range(options.pairs)]
    low, middle, high = statistics.quantiles((one / other for one, other in pairs), n=4)
    images = options.steps * BATCH
    rates = [images / statistics.median(column) for column in zip(*pairs, strict=True)]
    print(f"{options.space} child of {graph.params:,} parameters and {graph.macs:,} MACs")
    print(f"drop-path {options.drop_path:g}, {options.precision}")
    print(f"plain loop {rates[0]:,.0f} images/s, ours {rates[1]:,.0f} images/s")
    print(f"ratio {middle:.2f} ({low:.2f} to {high:.2f}, {options.pairs} pairs)")


if __name__ == "__main__":
    main()
