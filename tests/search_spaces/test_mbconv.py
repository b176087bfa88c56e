"""The mbconv space: every genotype is a sound network, on every size of image."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import MBConv
from search_spaces.genome import Genotype
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.mbconv import ACTIVATIONS, SMALLEST_MAP, MBConvSpace, skeleton
from search_spaces.modules import build
from search_spaces.primitives import Activation, GlobalAvgPool2d
from search_spaces.reference import REFERENCES
from search_spaces.reference.efficientnet import B0_STAGES

SHAPES = [
    (1, 8, 8),
    (1, 28, 28),
    (3, 32, 32),
    (3, 64, 64),
    (3, 224, 224),
    (1, 8, 64),
    (3, 33, 57),
]
SMALLEST_OPEN_MAP = 3  # pixels of the last map's shorter side, at the lowest resolution


def genotypes(space: MBConvSpace, count: int, seed: int = 0) -> list[Genotype]:
    rng = np.random.default_rng(seed)
    return [space.genome.sample_options(rng) for _ in range(count)]


def last_map(graph: Graph) -> tuple[int, ...]:
    """Sides of the map that the head averages."""
    pools = [node for node in graph.nodes if isinstance(node.primitive, GlobalAvgPool2d)]
    return pools[-1].input_shapes[0][1:]


@pytest.mark.parametrize("granularity", ["stage", "block"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_genotype_is_a_network_without_degenerate_maps(
    shape: tuple[int, int, int], granularity: str
) -> None:
    space = MBConvSpace(shape, 5, granularity=granularity)
    for genotype in genotypes(space, 30):
        architecture = space.architecture(genotype)
        graph = lower(architecture)
        assert graph.output_shape == (5,)
        assert graph.input_shape[0] == shape[0]
        assert min(last_map(graph)) >= SMALLEST_OPEN_MAP
        if architecture.input_shape[1:] == shape[1:]:
            assert min(last_map(graph)) >= SMALLEST_MAP


@pytest.mark.parametrize("shape", SHAPES)
def test_the_lowest_resolution_of_the_smallest_network_is_sound(
    shape: tuple[int, int, int],
) -> None:
    space = MBConvSpace(shape, 2)
    graph = lower(space.architecture(space.genome.unrank(0)))
    assert min(last_map(graph)) >= SMALLEST_OPEN_MAP
    assert graph.input_shape[1] < shape[1]
    assert graph.input_shape[2] < shape[2]


@pytest.mark.parametrize("granularity", ["stage", "block"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 33, 57), (1, 8, 64)])
def test_children_train(shape: tuple[int, int, int], granularity: str) -> None:
    space = MBConvSpace(shape, 4, granularity=granularity)
    for genotype in genotypes(space, 2, seed=1):
        graph = lower(space.architecture(genotype))
        torch.manual_seed(0)
        model = build(graph).train()
        logits = model(torch.randn(4, *graph.input_shape))
        assert logits.shape == (4, 4)
        torch.autograd.backward(
            torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3]))
        )
        gradients = [values.grad for values in model.parameters()]
        assert all(grad is not None and bool(torch.isfinite(grad).all()) for grad in gradients)
        assert any(bool(grad.abs().sum() > 0) for grad in gradients if grad is not None)


@pytest.mark.parametrize(
    ("sides", "stem_stride", "strides"),
    [
        ((8, 8), 1, (1, 1, 2)),
        ((8, 64), 1, (1, 1, 2)),
        ((28, 28), 1, (1, 1, 2, 2)),
        ((32, 32), 1, (1, 2, 2, 2, 1)),
        ((33, 57), 1, (1, 2, 2, 2, 1)),
        ((64, 64), 1, (1, 2, 2, 2, 1, 2)),
        ((224, 224), 2, (1, 2, 2, 2, 1, 2, 1)),
    ],
)
def test_the_skeleton_follows_the_images(
    sides: tuple[int, int], stem_stride: int, strides: tuple[int, ...]
) -> None:
    stem, stages = skeleton(*sides)
    assert (stem, tuple(stage.stride for stage in stages)) == (stem_stride, strides)
    unstrided = tuple(stage._replace(stride=0) for stage in stages)
    assert unstrided == tuple(stage._replace(stride=0) for stage in B0_STAGES[: len(stages)])


@pytest.mark.parametrize("height", range(8, 70))
def test_a_skeleton_halves_as_often_as_the_shorter_side_bears(height: int) -> None:
    for width in (height, height + 5, 300):
        stem, stages = skeleton(height, width)
        halvings = sum(stride == 2 for stride in (stem, *(stage.stride for stage in stages)))
        assert len(stages) == halvings + 2
        assert height // 2**halvings >= SMALLEST_MAP
        assert halvings == 5 or height // 2 ** (halvings + 1) < SMALLEST_MAP


@pytest.mark.parametrize("granularity", ["stage", "block"])
def test_efficientnet_b0_is_a_point_of_the_space(granularity: str) -> None:
    space = MBConvSpace((3, 224, 224), 1000, granularity=granularity)
    answers: dict[str, bool | int | float | str] = {"resolution": "224x224", "activation": "silu"}
    for place, row in enumerate(B0_STAGES):
        answers |= {f"stage{place}.width": row.width, f"stage{place}.depth": row.depth}
        blocks = range(row.depth) if granularity == "block" else [None]
        for block in blocks:
            name = f"stage{place}" if block is None else f"stage{place}.block{block}"
            answers |= {
                f"{name}.kernel": row.kernel_size,
                f"{name}.expansion": row.expansion,
                f"{name}.squeeze_excite": 0.25,
            }
    architecture = space.architecture(space.genome.genotype(answers))
    reference = REFERENCES["efficientnet_b0"]()
    assert replace(architecture, title=reference.title) == reference
    assert digest(lower(architecture)) == digest(lower(reference))
    other = space.architecture(space.genome.genotype({**answers, "activation": "relu6"}))
    assert digest(lower(other)) != digest(lower(reference))


def changed(
    space: MBConvSpace, genotype: Genotype, name: str
) -> list[tuple[Architecture, bool | int | float | str]]:
    """The architectures that one decision's options give, with the option."""
    decision = next(entry for entry in space.genome.decisions if entry.name == name)
    return [
        (
            space.architecture(space.genome.genotype({**genotype.to_dict(), name: option.value})),
            option.value,
        )
        for option in decision.options
    ]


def test_each_decision_acts() -> None:
    space = MBConvSpace((3, 32, 32), 10)
    genotype = genotypes(space, 1)[0]
    for decision in space.genome.decisions:
        children = [child for child, _ in changed(space, genotype, decision.name)]
        assert len({digest(lower(child)) for child in children}) == len(children), decision.name


def test_the_resolution_is_the_size_of_the_images() -> None:
    space = MBConvSpace((3, 32, 40), 10)
    children = changed(space, genotypes(space, 1)[0], "resolution")
    shapes = [child.input_shape for child, _ in children]
    assert shapes == [(3, 24, 30), (3, 28, 35), (3, 32, 40), (3, 36, 45)]
    assert [value for _, value in children] == ["24x30", "28x35", "32x40", "36x45"]
    macs = [lower(child).macs for child, _ in children]
    assert macs == sorted(set(macs))
    assert len({lower(child).params for child, _ in children}) == 1


def test_the_activation_is_that_of_every_layer_but_the_gates() -> None:
    space = MBConvSpace((3, 32, 32), 10)
    for child, kind in changed(space, genotypes(space, 1)[0], "activation"):
        found = {
            node.primitive.kind
            for node in lower(child).nodes
            if isinstance(node.primitive, Activation)
        }
        assert found - {"sigmoid"} == {kind}
    assert len(ACTIVATIONS) == 3


def test_blocks_decide_for_themselves_where_they_are_asked_to() -> None:
    def choices(granularity: str) -> int:
        space = MBConvSpace((3, 224, 224), 10, granularity=granularity)
        stages = [
            stage
            for genotype in genotypes(space, 20)
            for stage in space.architecture(genotype).stages
        ]
        kernels = [
            {block.kernel_size for block in stage if isinstance(block, MBConv)} for stage in stages
        ]
        return max(len(kernel) for kernel in kernels)

    assert choices("stage") == 1
    assert choices("block") == 3
    size = MBConvSpace((3, 224, 224), 10).genome.size
    assert MBConvSpace((3, 224, 224), 10, granularity="block").genome.size > size


def test_a_genotype_of_another_space_is_refused() -> None:
    small, large = MBConvSpace((1, 8, 8), 10), MBConvSpace((3, 64, 64), 10)
    with pytest.raises(ValueError, match=r"."):
        large.architecture(small.genome.unrank(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MBConvSpace((1, 7, 8), 10), "sides of at least 8 pixels, got 1x7x8"),
        (lambda: MBConvSpace((1, 8, 7), 10), "sides of at least 8 pixels, got 1x8x7"),
        (lambda: MBConvSpace((0, 8, 8), 10), "must have a channel"),
        (lambda: MBConvSpace((1, 8, 8), 1), "num_classes must be at least 2, got 1"),
        (
            lambda: MBConvSpace((1, 8, 8), 2, granularity="layer"),
            "granularity must be stage or block, got 'layer'",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(make: Callable[[], MBConvSpace], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert message in str(caught.value)
