"""How much faster children of a space train and are scored here than in a plain loop.

    python benchmarks/training_throughput.py [--space fractal] [--children 10] [--pairs 40]
        [--scoring] [--side 28] [--drop-path 0.15] [--precision bfloat16]

The plain loop is what most people write: float32 in the plain layout, a ``DataLoader``, AdamW, a
step for each batch, every path of the network; for scoring eval mode and inference mode. Ours is
the inner loop of ``Training``, or ``scored`` with all that it does before the first batch. Both
take the same child and the same random images in batches of 128, in one thread, each in a process
of its own: memory is kept for ours as a training keeps it, which the plain loop must not have from
us. The ratio of images per second of CPU time is the median over pairs, taken in turn after some
rounds of warm-up, with its quartiles; one child is that of middling MACs, several are sampled, and
the last line is the median of theirs.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from estimators.allocator import memory_kept
from estimators.child_training import ChildTraining
from estimators.data import ImageData, Split, from_arrays
from estimators.resizing import resized
from estimators.scoring import scored
from estimators.task import Classification
from estimators.training import Training
from nas import plugins
from search_spaces.architecture import lower
from search_spaces.graph import Graph
from search_spaces.modules import build

CLASSES, BATCH = 10, 128
WARM = 4  # rounds before those that count
LARGEST_MACS = 60e6  # of the child, so that a pair takes seconds


def random_images(count: int, side: int) -> ImageData:
    """Images whose training split is ``count`` or a little more."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(2 * count, side, side), dtype=np.uint8)
    return from_arrays(images, np.arange(2 * count) % CLASSES)


def sampled(name: str, side: int, count: int) -> list[Graph]:
    """The first children of a seed, each option of each decision as likely."""
    space = plugins.load("search_spaces", name)((1, side, side), CLASSES)
    rng = np.random.default_rng(0)
    return [lower(space.architecture(space.genome.sample_options(rng))) for _ in range(count)]


def middling(name: str, side: int) -> Graph:
    """The child of median MACs among those of 101 samples that read images of full size."""
    graphs = sampled(name, side, 101)
    same = [g for g in graphs if g.input_shape[1] == side and g.macs <= LARGEST_MACS]
    return sorted(same, key=lambda graph: graph.macs)[len(same) // 2]


def plain_training(graph: Graph, data: ImageData, steps: int) -> Callable[[], None]:
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
            loss = loss_of(model(resized(chosen, graph.input_shape[1:])), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def our_training(graph: Graph, data: ImageData, steps: int, **options: Any) -> Callable[[], None]:
    """As many steps of ours; each call goes on where the last one stopped."""
    training = Training(epochs=1_000, batch_size=BATCH, **options)
    training.prepare(data, Classification(CLASSES))
    child = ChildTraining(graph, *training._ready(), seed=0, device="cpu")  # noqa: SLF001 - what is timed
    done = 0

    def run() -> None:
        nonlocal done
        child._train(done, done + steps, 1.0)  # noqa: SLF001 - what is timed
        done += steps

    return run


def plain_scoring(graph: Graph, data: ImageData, steps: int) -> Callable[[], None]:
    """Outputs for every image of as many batches, by an ordinary loop."""
    model, split = build(graph).eval(), first_images(data, steps)
    loader = DataLoader(TensorDataset(split.images, split.labels), batch_size=BATCH)

    def run() -> None:
        with torch.inference_mode():
            torch.cat([model(resized(images, graph.input_shape[1:])) for images, _ in loader])

    return run


def our_scoring(graph: Graph, data: ImageData, steps: int) -> Callable[[], None]:
    """The same by ours."""
    model, split = build(graph).to(memory_format=torch.channels_last), first_images(data, steps)

    def run() -> None:
        scored(model, split, graph=graph, device="cpu")

    return run


def first_images(data: ImageData, steps: int) -> Split:
    """As many batches of the training images."""
    return Split(data.train.images[: steps * BATCH], data.train.labels[: steps * BATCH])


def side(
    make: Callable[..., Callable[[], None]],
    graph: Graph,
    options: argparse.Namespace,
    *,
    ours: bool,
    **recipe: Any,
) -> ProcessPoolExecutor:
    """A loop in a process of its own, which is the only one of the pool.

    Args:
        make: Makes it of a child, images and a number of batches.
        graph: The child.
        options: Those of the command line.
        ours: Whether memory is kept for it.
        recipe: What ``make`` takes besides.
    """
    arguments = (make, graph, options.steps, options.side, ours, recipe)
    spawn = get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin, initargs=arguments)


def seconds(pool: ProcessPoolExecutor) -> float:
    """CPU time of one run of its loop."""
    return pool.submit(_seconds).result()


_run: Callable[[], None]  # of this process, if it is a side's
_kept = ExitStack()  # likewise, until it ends


def _begin(
    make: Callable[..., Callable[[], None]],
    graph: Graph,
    steps: int,
    side: int,
    ours: bool,  # noqa: FBT001
    recipe: dict[str, Any],
) -> None:
    global _run  # noqa: PLW0603 - one for each process
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if ours:
        _kept.enter_context(memory_kept())
    _run = make(graph, random_images(steps * BATCH, side), steps, **recipe)


def _seconds() -> float:
    begin = time.process_time()
    _run()
    return time.process_time() - begin


def compared(graph: Graph, options: argparse.Namespace) -> float:
    """Print a child, both rates and their ratio with its quartiles; the ratio."""
    if options.scoring:
        plain = side(plain_scoring, graph, options, ours=False)
        ours = side(our_scoring, graph, options, ours=True)
    else:
        recipe = {"drop_path": options.drop_path, "precision": options.precision}
        plain = side(plain_training, graph, options, ours=False)
        ours = side(our_training, graph, options, ours=True, **recipe)
    with plain, ours:
        for _ in range(WARM):
            seconds(plain), seconds(ours)
        pairs = [(seconds(plain), seconds(ours)) for _ in range(options.pairs)]
    low, middle, high = statistics.quantiles((one / other for one, other in pairs), n=4)
    images = options.steps * BATCH
    rates = [images / statistics.median(column) for column in zip(*pairs, strict=True)]
    print(
        f"{graph.params:>9,} parameters, {graph.macs:>11,} MACs, {graph.input_shape[1]:>2} pixels: "
        f"plain loop {rates[0]:>6,.0f} images/s, ours {rates[1]:>6,.0f}, "
        f"ratio {middle:.2f} ({low:.2f} to {high:.2f})",
        flush=True,
    )
    return middle


def summary(ratios: Sequence[float]) -> str:
    """The median over children, with quartiles."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"median over {len(ratios)} children: {middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print a line for each child, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="fractal")
    parser.add_argument("--children", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--scoring", action="store_true", help="instead of training")
    parser.add_argument("--side", type=int, default=28, help="of the images, in pixels")
    parser.add_argument("--steps", type=int, default=4, help="batches of one measurement")
    parser.add_argument("--drop-path", type=float, default=0.0)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    what = "scoring" if options.scoring else "training"
    print(f"{what}, {options.space}, {options.pairs} pairs a child of {options.steps} batches")
    if options.children == 1:
        graphs = [middling(options.space, options.side)]
    else:
        graphs = sampled(options.space, options.side, options.children)
    ratios = [compared(graph, options) for graph in graphs]
    if len(ratios) > 1:
        print(summary(ratios))


if __name__ == "__main__":
    main()
