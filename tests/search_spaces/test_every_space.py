"""What holds for each built-in space: sound on every size of image, varied, of sensible cost."""

from importlib import import_module
from statistics import median
from typing import Any

import numpy as np
import pytest

from nas.testing import check_space
from search_spaces import SEARCH_SPACES
from search_spaces.architecture import from_document, lower, to_document
from search_spaces.genome import Genotype
from search_spaces.identity import digest
from search_spaces.space import SearchSpace
from search_spaces.strict_json import dumps, loads

# The networks of the other one are those of a base that is given; test_scaling.py has its tests.
SPACES = [name for name in SEARCH_SPACES if name != "scaling"]
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 48), (3, 33, 57), (1, 8, 64), (3, 224, 224)]


def space(name: str, shape: tuple[int, int, int], num_classes: int) -> SearchSpace:
    module, _, cls = SEARCH_SPACES[name].partition(":")
    made: Any = getattr(import_module(module), cls)
    result: SearchSpace = made(shape, num_classes)
    return result


def genotypes(of: SearchSpace, count: int) -> list[Genotype]:
    rng = np.random.default_rng(0)
    return [of.genome.sample_options(rng) for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SPACES)
def test_every_genotype_is_a_network_that_reads_the_images(
    name: str, shape: tuple[int, int, int]
) -> None:
    for num_classes in (2, 10, 1000):
        made = space(name, shape, num_classes)
        ends = (made.genome.unrank(0), made.genome.unrank(made.genome.size - 1))
        for genotype in (*ends, *genotypes(made, 3)):
            graph = lower(made.architecture(genotype))
            assert graph.output_shape == (num_classes,)
            assert graph.input_shape[0] == shape[0]


@pytest.mark.parametrize("name", SPACES)
def test_children_are_different_networks(name: str) -> None:
    made = space(name, (1, 8, 8), 10)
    hashes = {digest(lower(made.architecture(genotype))) for genotype in genotypes(made, 60)}
    assert len(hashes) >= 57


@pytest.mark.parametrize("name", SPACES)
def test_networks_for_the_smallest_images_are_small(name: str) -> None:
    made = space(name, (1, 8, 8), 10)
    ends = (made.genome.unrank(0), made.genome.unrank(made.genome.size - 1))
    macs = [lower(made.architecture(genotype)).macs for genotype in (*ends, *genotypes(made, 60))]
    assert median(macs) < 50_000_000
    assert max(macs) < 1_500_000_000


@pytest.mark.parametrize("name", SPACES)
def test_an_architecture_survives_its_document(name: str) -> None:
    made = space(name, (3, 64, 48), 10)
    for genotype in genotypes(made, 5):
        child = made.architecture(genotype)
        assert from_document(loads(dumps(to_document(child)))) == child


@pytest.mark.parametrize("name", SPACES)
def test_a_space_keeps_the_contract(name: str) -> None:
    check_space(space(name, (1, 8, 8), 10), num_classes=10, samples=8, built=2)


@pytest.mark.parametrize("name", SPACES)
def test_what_cannot_be_searched_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="sides of at least 8 pixels, got 1x7x8"):
        space(name, (1, 7, 8), 10)
    with pytest.raises(ValueError, match="must have a channel"):
        space(name, (0, 8, 8), 10)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        space(name, (1, 8, 8), 1)


@pytest.mark.parametrize("name", SPACES)
def test_a_genotype_for_other_images_is_refused(name: str) -> None:
    small, large = space(name, (1, 8, 8), 10), space(name, (3, 64, 64), 10)
    with pytest.raises(ValueError, match=r"resolution must be one of"):
        large.architecture(small.genome.unrank(0))


@pytest.mark.parametrize("name", SPACES)
def test_there_is_a_space_for_images_of_every_size(name: str) -> None:
    for side in (*range(8, 100), *range(100, 225, 9)):
        made = space(name, (1, side, side + 3), 2)
        made.architecture(made.genome.unrank(0))
        made.architecture(made.genome.unrank(made.genome.size - 1))
