"""For a machine with GPUs: throughput, mixed precision, packing of children, memory returned.

    python benchmarks/gpu.py [--device cuda] [--images 20000] [--children 12]

``--device cpu`` with small numbers runs the same code anywhere, and says nothing about a GPU. All
ratios are taken within one run. Images are random: this is about time and memory alone.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import nas
from estimators.data import ImageData, from_arrays
from estimators.task import Classification
from estimators.training import Training
from search_spaces.architecture import lower
from search_spaces.graph import Graph
from search_spaces.mbconv import MBConvSpace
from search_spaces.modules import build

SIDE = 32


def arrays(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images of ten classes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(count, SIDE, SIDE, 3), dtype=np.uint8)
    return images, np.arange(count) % 10


def middling() -> Graph:
    """A child of median MACs."""
    space = MBConvSpace((3, SIDE, SIDE), 10)
    rng = np.random.default_rng(0)
    graphs = [lower(space.architecture(space.genome.sample_options(rng))) for _ in range(31)]
    return sorted(graphs, key=lambda graph: graph.macs)[15]


def plain_loop(graph: Graph, data: ImageData, device: str, *, precision: torch.dtype) -> float:
    """Images per second of an ordinary training loop, one pass."""
    size = tuple(int(side) for side in graph.input_shape[1:])
    model = build(graph).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images, labels = data.train.images, data.train.labels
    loss_of = nn.CrossEntropyLoss()
    begin = 0.0
    for number, batch in enumerate(torch.randperm(len(labels)).split(128)):
        if number == 3:  # warm
            synchronize(device)
            begin = time.perf_counter()
        chosen = images[batch].to(device, memory_format=torch.channels_last)
        if tuple(chosen.shape[2:]) != size:
            chosen = nn.functional.interpolate(chosen, size=size, mode="bilinear")
        with torch.autocast(device, dtype=precision, enabled=precision != torch.float32):
            loss = loss_of(model(chosen), labels[batch].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    synchronize(device)
    return (len(labels) - 3 * 128) / (time.perf_counter() - begin)


def synchronize(device: str) -> None:
    """Wait for the card."""
    if device == "cuda":
        torch.cuda.synchronize()


def throughput(device: str, count: int) -> None:
    """The engine's training against a plain loop, and bfloat16 against float32."""
    data, task, graph = from_arrays(*arrays(count)), Classification(10), middling()
    training = Training(epochs=1, batch_size=128)
    training.prepare(data, task)
    plain = [plain_loop(graph, data, device, precision=torch.float32) for _ in range(3)]
    mixed = [plain_loop(graph, data, device, precision=torch.bfloat16) for _ in range(3)]
    begin = time.perf_counter()
    training.evaluate(graph, fidelity=1.0, seed=0, device=device)
    ours = len(data.train) / (time.perf_counter() - begin)
    base = statistics.median(plain)
    faster = statistics.median(mixed) / base
    print(f"speed   plain loop {base:,.0f} images/s; bfloat16 {faster:.2f}x")
    print(f"speed   a child here, with start and scoring, {ours / base:.2f}x")
    if device == "cuda":
        left, most = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
        print(f"memory  {left / 2**20:.0f} MB given out after a child, {most / 2**20:.0f} at most")


def packing(device: str, count: int, children: int) -> None:
    """Children an hour with one, two and four of them on a card."""
    parts = (1.0, 0.5, 0.25) if device == "cuda" else (0.0,)
    base = None
    for part in parts:
        with tempfile.TemporaryDirectory() as place:
            result = nas.search(
                data=arrays(count),
                space="mbconv",
                strategy="random",
                settings={"estimator": {"epochs": 1, "batch_size": 128}},
                budget=children,
                final_training="off",
                device=device,
                gpus_per_child=part or None,
                out=Path(place) / "run",
            )
        busy = sum(trial.seconds for trial in result.trials)
        pace = 3600 * children / result.seconds
        base = pace if base is None else base
        print(
            f"packing {part:g} of a card each: {pace:,.0f} children an hour ({pace / base:.2f}x), "
            f"{busy / children:.1f} s each"
        )


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--children", type=int, default=12)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(5, "error: there is no GPU here; --device cpu runs the same code without one\n")
    throughput(options.device, options.images)
    packing(options.device, options.images, options.children)


if __name__ == "__main__":
    main()
