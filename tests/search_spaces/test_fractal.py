"""The fractal space: every genotype is a sound network, on every size of image."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nas.testing import check_space
from search_spaces.architecture import lower
from search_spaces.blocks import FractalBlock, Stem
from search_spaces.columns import column, columns
from search_spaces.fractal import FractalSpace, skeleton
from search_spaces.genome import OptionValue
from search_spaces.identity import digest
from search_spaces.primitives import GlobalAvgPool2d
from search_spaces.reference import REFERENCES
from search_spaces.reference.fractalnet import FILTERS

SHAPES = [
    (1, 8, 8),
    (1, 28, 28),
    (3, 32, 32),
    (3, 64, 64),
    (3, 224, 224),
    (1, 8, 64),
    (3, 33, 57),
    (2, 300, 9),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_genotype_is_a_network_that_reads_the_images(shape: tuple[int, int, int]) -> None:
    space = FractalSpace(shape, 5)
    rng = np.random.default_rng(0)
    ranks = (0, space.genome.size - 1)
    genotypes = [space.genome.unrank(rank) for rank in ranks]
    for genotype in (*genotypes, *(space.genome.sample_options(rng) for _ in range(12))):
        graph = lower(space.architecture(genotype))
        assert graph.output_shape == (5,)
        assert graph.input_shape[0] == shape[0]


@pytest.mark.parametrize(
    ("sides", "halvings", "maps"),
    [
        ((8, 8), 0, (8, 4, 2)),
        ((8, 64), 0, (8, 4, 2)),
        ((28, 28), 0, (28, 14, 7, 3)),
        ((32, 32), 0, (32, 16, 8, 4, 2)),
        ((63, 63), 0, (63, 31, 15, 7, 3)),
        ((64, 64), 1, (32, 16, 8, 4, 2)),
        ((127, 200), 1, (63, 31, 15, 7, 3)),
        ((128, 128), 2, (32, 16, 8, 4, 2)),
        ((224, 224), 2, (56, 28, 14, 7, 3)),
        ((600, 600), 2, (150, 75, 37, 18, 9)),
    ],
)
def test_the_skeleton_follows_the_images(
    sides: tuple[int, int], halvings: int, maps: tuple[int, ...]
) -> None:
    assert skeleton(*sides) == skeleton(*sides[::-1]) == (halvings, maps)


@pytest.mark.parametrize("side", [8, 16, 28, 32, 64, 128, 224])
def test_blocks_halve_what_the_stem_leaves(side: int) -> None:
    space = FractalSpace((3, side, side), 5)
    genotype = space.genome.unrank(0).to_dict() | {"resolution": f"{side}x{side}"}
    architecture = space.architecture(space.genome.genotype(genotype))
    halvings, maps = skeleton(side, side)
    assert isinstance(architecture.stem, Stem) == (halvings > 0)
    pool = next(
        node for node in lower(architecture).nodes if isinstance(node.primitive, GlobalAvgPool2d)
    )
    assert pool.input_shapes[0][1] == -(-side // 2 ** (halvings + len(maps)))


@pytest.mark.parametrize(("name", "count"), [("fractalnet_20", 3), ("fractalnet_40", 4)])
def test_the_published_networks_are_points_of_the_space(name: str, count: int) -> None:
    space = FractalSpace((3, 32, 32), 10)
    answers: dict[str, OptionValue] = {"resolution": "32x32", "activation": "relu"}
    for place, width in enumerate(FILTERS):
        answers |= {f"block{place}.columns": count, f"block{place}.width": width}
    answers |= {f"block{place}.kernel": 3 for place in range(3)}
    architecture = space.architecture(space.genome.genotype(answers))
    reference = REFERENCES[name]()
    assert replace(architecture, title=reference.title) == reference
    assert digest(lower(architecture)) == digest(lower(reference))


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 128, 128)])
def test_each_decision_acts(shape: tuple[int, int, int]) -> None:
    space = FractalSpace(shape, 10)
    genotype = space.genome.sample_options(np.random.default_rng(3))
    for decision in space.genome.decisions:
        answers = [
            genotype.to_dict() | {decision.name: option.value} for option in decision.options
        ]
        found = [space.architecture(space.genome.genotype(answer)) for answer in answers]
        assert len({digest(lower(child)) for child in found}) == len(found), decision.name


def test_every_child_holds_as_many_plain_networks_as_columns() -> None:
    space = FractalSpace((1, 8, 8), 10)
    rng = np.random.default_rng(0)
    for _ in range(20):
        child = space.architecture(space.genome.sample_options(rng))
        depths = [lower(column(child, number)).params for number in range(columns(child))]
        assert depths == sorted(set(depths))
        assert depths[-1] <= lower(child).params


def test_blocks_of_small_maps_have_kernels_of_three_pixels() -> None:
    space = FractalSpace((1, 8, 8), 10)
    assert [name for name in space.genome.names if name.endswith("kernel")] == ["block0.kernel"]
    child = space.architecture(space.genome.unrank(space.genome.size - 1))
    blocks = (child.stem, *(block for stage in child.stages for block in stage))
    kernels = [block.kernel_size for block in blocks if isinstance(block, FractalBlock)]
    assert kernels == [5, 3, 3]


def test_the_space_keeps_the_contract() -> None:
    check_space(FractalSpace((1, 8, 8), 10), num_classes=10, samples=10, built=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FractalSpace((1, 7, 8), 10), "sides of at least 8 pixels, got 1x7x8"),
        (lambda: FractalSpace((0, 8, 8), 10), "must have a channel"),
        (lambda: FractalSpace((1, 8, 8), 1), "num_classes must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_searched_is_refused(make: Callable[[], FractalSpace], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_genotype_of_another_space_is_refused() -> None:
    small, large = FractalSpace((1, 8, 8), 10), FractalSpace((3, 64, 64), 10)
    with pytest.raises(ValueError, match=r"."):
        large.architecture(small.genome.unrank(0))
