"""Random children of large spaces: sound, cheap to describe, counted right, and they train."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import graph_json
from search_spaces.architecture import from_document, lower, to_document
from search_spaces.cell import CellSpace
from search_spaces.dense import DenseSpace
from search_spaces.fractal import FractalSpace
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.mbconv import MBConvSpace
from search_spaces.mixed import MixedSpace
from search_spaces.modules import build
from search_spaces.residual import ResidualSpace
from search_spaces.space import SearchSpace
from search_spaces.strict_json import dumps, loads

SPACES = [MBConvSpace, FractalSpace, CellSpace, ResidualSpace, DenseSpace, MixedSpace]
SMALL = (1, 8, 8)

Space = Callable[[tuple[int, int, int], int], SearchSpace]


def children(space: SearchSpace, count: int, seed: int) -> list[Graph]:
    rng = np.random.default_rng(seed)
    return [lower(space.architecture(space.genome.sample_options(rng))) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
def test_500_children_have_a_graph_a_cost_a_document_and_a_hash(
    space: Space,
) -> None:
    made = space(SMALL, 10)
    rng = np.random.default_rng(0)
    hashes = set()
    for number in range(500):
        genotype = made.genome.sample_options(rng)
        architecture = made.architecture(genotype)
        assert from_document(loads(dumps(to_document(architecture)))) == architecture
        graph = lower(architecture)
        assert graph.output_shape == (10,)
        assert graph.params > 0
        assert graph.macs > 0
        hashes.add(digest(graph))
        if number % 20 == 0:  # the document of a graph is the slow part
            again = graph_json.from_document(loads(dumps(graph_json.to_document(graph))))
            assert again == graph
            assert digest(again) == digest(graph)
    assert len(hashes) >= 495


def loss(outputs: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs, torch.arange(len(outputs)))


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
def test_50_children_are_counted_as_torch_does_and_train(
    space: Space,
) -> None:
    for graph in children(space(SMALL, 4), 50, seed=1):
        with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
            build(graph).eval()(torch.zeros(1, *graph.input_shape))
        torch.manual_seed(0)
        model = build(graph)
        assert counter.get_total_flops() == 2 * graph.macs
        assert sum(values.numel() for values in model.parameters()) == graph.params
        outputs = model.train()(torch.randn(2, *graph.input_shape))
        torch.autograd.backward(loss(outputs))
        gradients = [values.grad for values in model.parameters()]
        assert all(grad is not None and bool(torch.isfinite(grad).all()) for grad in gradients)
