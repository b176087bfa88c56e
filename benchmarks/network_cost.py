"""What networks cost us: from genotype to hash, building a module, a training step.

    python benchmarks/network_cost.py [--pairs 40]

Prints medians; the ratios to torchvision's EfficientNet-B0 are medians over pairs, in CPU time of
one thread, with the first and third quartile.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torchvision.models import efficientnet_b0

from search_spaces.architecture import lower
from search_spaces.identity import digest
from search_spaces.mbconv import MBConvSpace
from search_spaces.modules import build
from search_spaces.reference import REFERENCES


def milliseconds(action: Callable[[], object]) -> float:
    """CPU time of one call."""
    begin = time.process_time()
    action()
    return 1000 * (time.process_time() - begin)


def ratio(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> str:
    """Median and quartiles of the ratio over pairs, taken in turn after one round of warm-up."""
    ours(), theirs()
    ratios = [milliseconds(ours) / milliseconds(theirs) for _ in range(pairs)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f}, {pairs} pairs)"


def child_cost(rounds: int) -> str:
    """Sample, architecture, graph, cost and hash of ``mbconv`` children at 224 pixels."""
    space = MBConvSpace((3, 224, 224), 1000)
    rng = np.random.default_rng(0)

    def child() -> None:
        graph = lower(space.architecture(space.genome.sample_genotype(rng)))
        _ = graph.params, graph.macs, digest(graph)

    times = [milliseconds(child) for _ in range(rounds)]
    return f"{statistics.median(times):.2f} ms median, {max(times):.2f} ms at most"


def reference_cost(name: str, rounds: int) -> str:
    """Architecture, graph, cost and hash of a reference network."""

    def network() -> None:
        graph = lower(REFERENCES[name]())
        _ = graph.params, graph.macs, digest(graph)

    times = [milliseconds(network) for _ in range(rounds)]
    return f"{statistics.median(times):.2f} ms median, {max(times):.2f} ms at most"


def training_step(model: nn.Module, images: torch.Tensor) -> Callable[[], None]:
    """Forward, backward and an SGD step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()

    def step() -> None:
        loss = model(images).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    print(f"mbconv child, sample to hash: {child_cost(100)}")
    print(f"EfficientNet-B7, architecture to hash: {reference_cost('efficientnet_b7', 20)}")
    graph = lower(REFERENCES["efficientnet_b0"]())
    print(f"building B0, ours / torchvision: {ratio(lambda: build(graph), efficientnet_b0, pairs)}")
    images = torch.randn(4, 3, 224, 224)
    ours = training_step(build(graph), images)
    theirs = training_step(efficientnet_b0(), images)
    print(f"training step of B0, ours / torchvision: {ratio(ours, theirs, pairs)}")


if __name__ == "__main__":
    main()
