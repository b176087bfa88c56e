"""The residual space: published networks are points of it, and what each decision does."""

from dataclasses import replace

import numpy as np
import pytest

from search_spaces.architecture import lower
from search_spaces.blocks import BasicBlock, Bottleneck
from search_spaces.genome import OptionValue
from search_spaces.identity import digest
from search_spaces.reference import REFERENCES
from search_spaces.reference.resnet import WIDTHS
from search_spaces.residual import ResidualSpace

BASIC: dict[str, OptionValue] = {"kind": "basic"}
BOTTLENECK: dict[str, OptionValue] = {
    "kind": "bottleneck",
    "inner": 0.25,
    "groups": 1,
    "stride_first": False,
}
SMALL_DEPTHS, DEPTHS = (2, 2, 2, 2), (3, 4, 6, 3)


def answers(
    depths: tuple[int, ...], stage: dict[str, OptionValue], *, squeeze: float = 0.0
) -> dict[str, OptionValue]:
    """A network for 224x224 images whose stages are all alike."""
    given: dict[str, OptionValue] = {
        "resolution": "224x224",
        "activation": "relu",
        "pre_activation": False,
    }
    for place, depth in enumerate(depths):
        open_here: dict[str, OptionValue] = {
            "width": WIDTHS[place],
            "depth": depth,
            "squeeze_excite": squeeze,
            **stage,
        }
        if place < 3:
            open_here["kernel"] = 3
        if place == 0:
            open_here.pop("stride_first", None)
        given |= {f"stage{place}.{name}": value for name, value in open_here.items()}
    return given


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("resnet18", answers(SMALL_DEPTHS, BASIC)),
        ("resnet34", answers(DEPTHS, BASIC)),
        ("resnet50", answers(DEPTHS, BOTTLENECK)),
        ("wide_resnet50_2", answers(DEPTHS, BOTTLENECK | {"inner": 0.5})),
        ("resnext50_32x4d", answers(DEPTHS, BOTTLENECK | {"inner": 0.5, "groups": 32})),
        ("se_resnet50", answers(DEPTHS, BOTTLENECK | {"stride_first": True}, squeeze=1 / 16)),
        (
            "se_resnext50_32x4d",
            answers(DEPTHS, BOTTLENECK | {"inner": 0.5, "groups": 32}, squeeze=1 / 16),
        ),
    ],
)
def test_the_published_networks_are_points_of_the_space(
    name: str, given: dict[str, OptionValue]
) -> None:
    space = ResidualSpace((3, 224, 224), 1000)
    child = lower(space.architecture(space.genome.genotype(given)))
    reference = lower(REFERENCES[name]())
    assert digest(child) == digest(reference)
    assert (child.params, child.macs) == (reference.params, reference.macs)


def test_a_published_network_is_the_same_architecture_but_for_its_title() -> None:
    space = ResidualSpace((3, 224, 224), 1000)
    architecture = space.architecture(space.genome.genotype(answers(DEPTHS, BASIC)))
    assert architecture == replace(REFERENCES["resnet34"](), title="ResNet")


def test_pre_activated_children_end_with_norm_and_activation() -> None:
    space = ResidualSpace((3, 224, 224), 1000)
    given = answers(DEPTHS, BOTTLENECK) | {"pre_activation": True}
    child = space.architecture(space.genome.genotype(given))
    published = REFERENCES["resnet200"]()
    assert (child.stem, child.head) == (published.stem, published.head)
    assert [stage[0] for stage in child.stages] == [stage[0] for stage in published.stages]


@pytest.mark.parametrize("side", [8, 32, 224])
def test_stages_after_the_first_begin_by_halving(side: int) -> None:
    space = ResidualSpace((3, side, side), 10)
    rng = np.random.default_rng(0)
    for _ in range(10):
        child = space.architecture(space.genome.sample_options(rng))
        for place, stage in enumerate(child.stages):
            strides = []
            for block in stage:
                assert isinstance(block, BasicBlock | Bottleneck)
                strides.append(block.stride)
            assert strides == [2 if place else 1] + [1] * (len(stage) - 1)


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_each_decision_acts(kind: str) -> None:
    space = ResidualSpace((3, 32, 32), 10)
    given = space.genome.sample_options(np.random.default_rng(0)).to_dict()
    inside = {"inner": 0.5, "groups": 8}
    opened = {"inner", "groups", "stride_first"}
    given = {name: value for name, value in given.items() if name.split(".")[-1] not in opened}
    for place in range(3):
        given[f"stage{place}.kind"] = kind
        if kind == "bottleneck":
            given |= {f"stage{place}.{name}": value for name, value in inside.items()}
            given |= {f"stage{place}.stride_first": False} if place else {}
    genotype = space.genome.genotype(given)
    for neighbour in space.genome.neighbours(genotype):
        changed = digest(lower(space.architecture(neighbour)))
        assert changed != digest(lower(space.architecture(genotype))), neighbour.to_dict()
