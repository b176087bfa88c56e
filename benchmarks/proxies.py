"""Processor seconds that each untrained score takes for a child, on one core.

    python benchmarks/proxies.py [--space mbconv] [--children 8] [--side 28]

Noise will do for images: what a score costs does not depend on them.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from estimators.data import from_arrays
from estimators.proxy import SCORES, Proxy
from estimators.task import Classification
from nas import plugins
from nas.construction import make_space
from search_spaces.architecture import lower
from search_spaces.graph import Graph

CLASSES = 10


def graphs_of(space: str, side: int, children: int) -> list[Graph]:
    """Networks drawn from a space, uniform over its options."""
    made = make_space(space, (1, side, side), CLASSES, {})
    rng = np.random.default_rng(0)
    return [lower(made.architecture(made.genome.sample_options(rng))) for _ in range(children)]


def seconds_of(proxy: Proxy, graphs: list[Graph]) -> list[float]:
    """Seconds for each network, after one that is not counted."""
    found = []
    for graph in (graphs[0], *graphs):
        begin = time.process_time()
        proxy.evaluate(graph, fidelity=1.0, seed=0, device="cpu")
        found.append(time.process_time() - begin)
    return found[1:]


def main() -> None:
    """Print a line for each space and score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", choices=plugins.names("search_spaces"), action="append")
    parser.add_argument("--children", type=int, default=8)
    parser.add_argument("--side", type=int, default=28)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).random((400, options.side, options.side), dtype=np.float32)
    data = from_arrays(pixels, np.arange(400) % CLASSES)
    for space in options.space or plugins.names("search_spaces"):
        graphs = graphs_of(space, options.side, options.children)
        macs = statistics.median(graph.macs for graph in graphs) / 1e6
        for score in SCORES:
            proxy = Proxy(score=score)
            if proxy.references:
                proxy.refer(graphs)
            proxy.prepare(data, Classification(CLASSES))
            found = seconds_of(proxy, graphs)
            print(
                f"{space:<10}{score:<13}median {statistics.median(found):.3f} s, "
                f"longest {max(found):.3f} s, {macs:.0f}M MACs",
                flush=True,
            )


if __name__ == "__main__":
    main()
