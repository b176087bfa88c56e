"""The dense space: published networks are points of it, and what each decision does."""

from dataclasses import replace

import numpy as np
import pytest

from search_spaces.architecture import lower
from search_spaces.blocks import DenseLayer, Transition
from search_spaces.dense import DenseSpace
from search_spaces.genome import OptionValue
from search_spaces.identity import digest
from search_spaces.reference import REFERENCES
from search_spaces.reference.densenet import DENSENETS


@pytest.mark.parametrize("name", DENSENETS)
def test_the_published_networks_are_points_of_the_space(name: str) -> None:
    plan, reference = DENSENETS[name], REFERENCES[name]()
    space = DenseSpace(reference.input_shape, 10 if plan.small_images else 1000)
    side = reference.input_shape[1]
    given: dict[str, OptionValue] = {
        "resolution": f"{side}x{side}",
        "activation": "relu",
        "stem.width": plan.stem_width,
    }
    for place, layers in enumerate(plan.depths):
        given |= {
            f"stage{place}.layers": layers,
            f"stage{place}.growth": plan.growth,
            f"stage{place}.bottleneck": plan.bottleneck,
            f"stage{place}.squeeze_excite": 0.0,
        }
        given |= {f"stage{place}.kernel": 3} if place < 3 else {}
        if place < len(plan.depths) - 1:
            given[f"stage{place}.compression"] = plan.compression
    child = space.architecture(space.genome.genotype(given))
    assert replace(child, title=reference.title) == reference
    assert digest(lower(child)) == digest(lower(reference))


def test_a_transition_stands_between_two_stages() -> None:
    space = DenseSpace((3, 32, 32), 10)
    child = space.architecture(space.genome.sample_options(np.random.default_rng(0)))
    ends = [isinstance(stage[-1], Transition) for stage in child.stages]
    assert ends == [True, True, False]
    layers = [block for stage in child.stages for block in stage if isinstance(block, DenseLayer)]
    assert len(layers) == sum(len(stage) for stage in child.stages) - 2


def test_each_decision_acts() -> None:
    space = DenseSpace((3, 32, 32), 10)
    genotype = space.genome.sample_options(np.random.default_rng(1))
    mine = digest(lower(space.architecture(genotype)))
    for neighbour in space.genome.neighbours(genotype):
        assert digest(lower(space.architecture(neighbour))) != mine, neighbour.to_dict()
