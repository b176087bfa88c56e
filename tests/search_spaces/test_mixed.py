"""The mixed space: any family follows any other, and a stage ends at its width."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.architecture import Architecture, lower
from search_spaces.genome import Genotype
from search_spaces.identity import digest
from search_spaces.mixed import MixedSpace
from search_spaces.modules import build
from search_spaces.primitives import GlobalAvgPool2d
from search_spaces.source import model_source

FAMILIES = ("mbconv", "residual", "dense", "fractal")

Liven = Callable[[nn.Module], nn.Module]
ModelFromSource = Callable[[str], nn.Module]


def of_families(space: MixedSpace, families: tuple[str, ...], seed: int = 0) -> Genotype:
    """A genotype with these families, the rest drawn."""
    rng = np.random.default_rng(seed)
    while True:
        genotype = space.genome.sample_options(rng)
        if all(genotype[f"stage{place}.family"] == family for place, family in enumerate(families)):
            return genotype


def out_shapes(child: Architecture) -> list[tuple[int, ...]]:
    """What each stage puts out: channels and sides, seen by networks that end there."""
    shapes = []
    for count in range(1, len(child.stages) + 1):
        head = replace(child, stages=child.stages[:count])
        nodes = lower(head).nodes
        conv = next(node for node in nodes if node.name == "head.conv")
        shapes.append(conv.input_shapes[0])
    return shapes


@pytest.mark.parametrize("families", list(product(FAMILIES, repeat=2)))
def test_any_family_follows_any_other_and_ends_at_the_width(families: tuple[str, ...]) -> None:
    space = MixedSpace((1, 8, 8), 10)
    genotype = of_families(space, families)
    child = space.architecture(genotype)
    side = child.input_shape[1]
    assert out_shapes(child) == [
        (genotype["stage0.width"], side, side),
        (genotype["stage1.width"], -(-side // 2), -(-side // 2)),
    ]


def test_maps_do_not_depend_on_the_families() -> None:
    space = MixedSpace((3, 224, 224), 10)
    rng = np.random.default_rng(0)
    for _ in range(20):
        child = space.architecture(space.genome.sample_options(rng))
        node = [node for node in lower(child).nodes if isinstance(node.primitive, GlobalAvgPool2d)][
            -1
        ]
        assert node.input_shapes[0][1] == -(-child.input_shape[1] // 32)


def test_each_family_is_as_likely_in_each_stage() -> None:
    """Of 2,000 draws 500 each are expected; 4.6 standard deviations are 90."""
    space = MixedSpace((1, 8, 8), 10)
    rng = np.random.default_rng(0)
    drawn = [space.genome.sample_options(rng) for _ in range(2000)]
    for stage in ("stage0", "stage1"):
        found = Counter(genotype[f"{stage}.family"] for genotype in drawn)
        assert set(found) == set(FAMILIES)
        assert all(abs(times - 500) < 90 for times in found.values()), found


@pytest.mark.parametrize("family", FAMILIES)
def test_each_decision_acts(family: str) -> None:
    space = MixedSpace((3, 32, 32), 10)
    rng = np.random.default_rng(2)
    genotype = space.genome.sample_options(rng)
    while genotype["stage1.family"] != family:
        genotype = space.genome.sample_options(rng)
    mine = digest(lower(space.architecture(genotype)))
    for neighbour in space.genome.neighbours(genotype):
        assert digest(lower(space.architecture(neighbour))) != mine, neighbour.to_dict()


def test_another_family_brings_its_own_decisions_alone() -> None:
    space = MixedSpace((1, 8, 8), 10)
    for families in product(FAMILIES, repeat=2):
        names = list(of_families(space, families))
        for place, family in enumerate(families):
            opened = {name.split(".")[1] for name in names if name.startswith(f"stage{place}.")}
            assert opened == {"width", "family", family}


@pytest.mark.parametrize("families", [FAMILIES[:2], FAMILIES[2:], ("fractal", "residual")])
def test_the_source_of_a_child_computes_what_the_module_does(
    families: tuple[str, ...], model_from_source: ModelFromSource, liven: Liven
) -> None:
    space = MixedSpace((1, 8, 8), 10)
    graph = lower(space.architecture(of_families(space, families)))
    model = liven(build(graph))
    printed = model_from_source(model_source(graph))
    printed.load_state_dict(model.state_dict())
    images = torch.randn(2, *graph.input_shape)
    with torch.no_grad():
        assert torch.equal(printed.eval()(images), model(images))
