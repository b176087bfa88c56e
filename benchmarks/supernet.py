"""What weight sharing costs: a step, making a child, ranking a hundred, memory of workers.

Usage: python benchmarks/supernet.py steps|rank|memory [--space NAME] [--images FOLDER]

``steps``: 40 pairs of a step of the supernet, the child's making included, and of the same child
alone, in processor time; and the time to make a child, for 20 layers. ``rank``: training and
scoring against 3 epochs of each child, on Fashion-MNIST reduced to 14x14. ``memory``: how much
the proportional set size of two Ray workers grows by looking at every weight of their bank.
"""

import argparse
import gzip
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from estimators.child_training import Recipe, adamw
from estimators.data import ImageData, digits, from_arrays
from estimators.estimator import Population, Pretraining
from estimators.shared_adam import SharedAdamW, Update
from estimators.shared_layers import assemble
from estimators.supernet import Supernet
from estimators.task import Classification
from estimators.trained_layers import trained_layer
from estimators.training import Training
from estimators.weight_bank import WeightBank
from nas.children import Children
from nas.construction import make_space
from nas.limits import Limits
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.primitives import Conv2d, Linear

PAIRS, BATCH = 40, 64
IMAGES = Path("/usr/share/datasets/fashion-mnist")
RANKED, EPOCHS = 100, 3


def fashion(folder: Path, count: int = 8_000) -> ImageData:
    """The first ``count`` training images, averaged over 2x2 pixels."""
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 14, 2, 14, 2)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    small = pixels[:count].mean(axis=(2, 4)).round().astype(np.uint8)
    return from_arrays(small, labels[:count].astype(np.int64), name="fashion14")


def children(name: str, shape: tuple[int, int, int]) -> Children:
    """Those of one space."""
    return Children(make_space(name, shape, 10, {}), Limits())


def supernet_step(bank: WeightBank, optimizer: SharedAdamW, graph: Graph, batch: tuple) -> float:
    """Processor seconds to make the child; takes the whole step."""
    images, labels = batch
    begin = time.process_time()
    slots = bank.slots(graph)
    bank.reserve(slots.values())
    values = {key: nn.Parameter(bank.take(slot)) for key, slot in slots.items()}
    model = assemble(graph, values)
    made = time.process_time() - begin
    nn.functional.cross_entropy(model(images), labels).backward()
    updates = [
        Update(slot, values[key].detach(), gradient)
        for key, slot in slots.items()
        if (gradient := values[key].grad) is not None
    ]
    optimizer.step(updates, learning_rate=1e-4)
    return made


def steps(name: str) -> None:
    """Pairs of steps, in turn."""
    torch.set_num_threads(1)
    made, rng = children(name, (1, 14, 14)), np.random.default_rng(0)
    bank = WeightBank(sharing="elastic")
    optimizer = SharedAdamW(bank, weight_decay=0.02)
    graphs = [made.draw(rng) for _ in range(PAIRS)]
    for graph in graphs:
        bank.reserve(bank.slots(graph).values())
    ratios, making = [], []
    for graph in graphs:
        images = torch.randn(BATCH, *graph.input_shape).to(memory_format=torch.channels_last)
        batch = images, torch.randint(10, (BATCH,))
        alone = build(graph, trained_layer).to(memory_format=torch.channels_last)
        adam = adamw(alone, Recipe(1, BATCH, 1e-4, 0.02), {})
        shared, single, made_in = [], [], []
        for _ in range(2):  # the better one counts
            begin = time.process_time()
            made_in.append(supernet_step(bank, optimizer, graph, batch))
            shared.append(time.process_time() - begin)
            begin = time.process_time()
            adam.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(alone(batch[0]), batch[1]).backward()
            adam.step()
            single.append(time.process_time() - begin)
        ratios.append(min(shared) / min(single))
        layers = sum(isinstance(node.primitive, Conv2d | Linear) for node in graph.nodes)
        making.append(1000 * min(made_in) * 20 / layers)
    print(
        f"{name:9} step x{statistics.median(ratios):.3f} (mean {statistics.mean(ratios):.3f}) "
        f"of the child alone; making {statistics.median(making):.2f} ms for 20 layers"
    )


def rank(name: str, folder: Path) -> None:
    """Ranking by shared weights, and the time of so many short trainings, from some of them."""
    data, task = fashion(folder), Classification(10)
    made = children(name, data.input_shape)
    estimator = Supernet()
    estimator.prepare(data, task)
    population = Population(made.draw, lambda: made.extremes(np.random.default_rng(0)))
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        estimator.pretrain(Pretraining(population, Path(place), 0, "cpu", print, lambda: False))
    trained = time.process_time() - begin
    rng = np.random.default_rng(1)
    graphs = [made.draw(rng) for _ in range(RANKED)]
    begin = time.process_time()
    some = graphs[:: RANKED // 20]
    for graph in some:
        estimator.evaluate(graph, fidelity=1.0, seed=0, device="cpu")
    scored = (time.process_time() - begin) * RANKED / len(some)
    training = Training(epochs=EPOCHS)
    training.prepare(data, task)
    few = graphs[:: RANKED // 5]
    begin = time.process_time()
    for graph in few:
        training.evaluate(graph, fidelity=1.0, seed=0, device="cpu")
    alone = (time.process_time() - begin) * RANKED / len(few)
    print(
        f"supernet {trained:.0f} s and scores {scored:.0f} s, {RANKED} short trainings "
        f"{alone:.0f} s (from {len(few)}): 1/{alone / (trained + scored):.1f}"
    )


def memory() -> None:
    """Two actors with one large bank."""
    import ray  # noqa: PLC0415 - starts slowly

    data = digits()
    estimator = Supernet(epochs=1)
    estimator.prepare(data, Classification(10))
    bank = WeightBank(sharing="elastic")
    made = children("residual", (3, 224, 224))
    _, largest = made.extremes(np.random.default_rng(0), samples=4)
    bank.reserve(bank.slots(largest).values())
    small = children("residual", data.input_shape).draw(np.random.default_rng(0))
    estimator._trained = bank.documents()  # noqa: SLF001 - without the training
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)

    @ray.remote(num_cpus=1)
    class Worker:
        """Holds the estimator as a worker of a search does."""

        def __init__(self, shared: Supernet) -> None:
            self._shared = shared

        def score(self, graph: Graph) -> int:
            """Bytes of this process's own, after a score."""
            self._shared.evaluate(graph, fidelity=1.0, seed=0, device="cpu")
            return self.own()

        def look(self) -> None:
            """Read every weight."""
            sum(float(one.sum()) for one in self._shared._trained[1].values())  # noqa: SLF001

        def own(self) -> int:
            """Proportional set size of this process, in bytes."""
            text = Path(f"/proc/{os.getpid()}/smaps_rollup").read_text()
            return next(int(line.split()[1]) for line in text.splitlines() if "Pss:" in line) * 1024

    place = ray.put(estimator)
    workers = [Worker.remote(place) for _ in range(2)]
    before = ray.get([worker.score.remote(small) for worker in workers])
    ray.get([worker.look.remote() for worker in workers])
    after = ray.get([worker.own.remote() for worker in workers])
    grown = [(now - then) >> 20 for now, then in zip(after, before, strict=True)]
    print(
        f"bank {4 * bank.values >> 20} MiB; proportional set size of the workers "
        f"{[one >> 20 for one in before]} MiB, larger by {grown} MiB once they have read it all"
    )
    ray.shutdown()


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("steps", "rank", "memory"))
    parser.add_argument("--space", default="mbconv")
    parser.add_argument("--images", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    match arguments.what:
        case "steps":
            steps(arguments.space)
        case "rank":
            rank(arguments.space, arguments.images)
        case _:
            memory()


if __name__ == "__main__":
    main()
