"""Layers are of the family of the block that they stand in."""

from dataclasses import replace

import numpy as np
import pytest

from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import (
    BLOCKS,
    Classifier,
    ConvNormAct,
    DenseLayer,
    FractalBlock,
    MaxPool,
    MBConv,
    SqueezeExcite,
    Stem,
    Transition,
)
from search_spaces.families import families, shares
from search_spaces.identity import digest
from search_spaces.mixed import MixedSpace
from search_spaces.reference import REFERENCES

SEVERAL = Architecture(
    title="Several",
    input_shape=(3, 32, 32),
    stem=Stem(8, 3, 1, pool=False),
    stages=(
        (MBConv(16), MBConv(16)),
        (MaxPool(2, 2), DenseLayer(8, squeeze_ratio=0.25), Transition(1.0, 1)),
        (FractalBlock(16, 2), SqueezeExcite(4)),
    ),
    head=Classifier(10),
)


def test_every_layer_of_a_block_has_its_family_and_stem_head_and_pools_have_none() -> None:
    found = families(lower(SEVERAL))
    names = [node.name for node in lower(SEVERAL).nodes]
    expected = {"stages.0": "mbconv", "stages.1.1": "dense", "stages.1.2": "dense"}
    expected |= {"stages.2.0": "fractal"}
    for name in names:
        place = next((place for place in expected if name.startswith(f"{place}.")), None)
        assert found.get(name) == expected.get(place or ""), name


def test_a_block_within_another_is_of_the_outer_ones_family_unless_it_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = families(lower(SEVERAL))
    inner = [name for name in found if ".squeeze_excite." in name]
    assert {found[name] for name in inner} == {"mbconv", "dense"}
    assert found["stages.2.0.conv0_0.conv"] == "fractal"
    monkeypatch.setattr(SqueezeExcite, "family", "other")
    assert {families(lower(SEVERAL))[name] for name in inner} == {"other"}


def test_a_title_is_not_a_block() -> None:
    graph = lower(replace(SEVERAL, title="FractalBlock"))
    assert families(graph) == families(lower(SEVERAL))


def test_shares_are_those_of_macs_and_leave_the_rest_to_no_family() -> None:
    graph = lower(SEVERAL)
    found = shares(graph)
    inside = sum(n.cost.macs for n in graph.nodes if n.name.startswith("stages.0."))
    assert found["mbconv"] == inside / graph.macs
    outside = ("stem", "head", "stages.2.1")
    rest = sum(n.cost.macs for n in graph.nodes if n.name.startswith(outside))
    assert sum(found.values()) == pytest.approx(1 - rest / graph.macs)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_network_of_plain_layers_has_no_family() -> None:
    graph = lower(replace(SEVERAL, stages=((ConvNormAct(8),),)))
    assert families(graph) == {}
    assert shares(graph) == {}


def test_a_mixed_network_has_the_families_that_its_stages_chose() -> None:
    space, rng = MixedSpace((1, 28, 28), 10), np.random.default_rng(0)
    for _ in range(5):
        genotype = space.genome.sample_options(rng)
        chosen = {value for name, value in genotype.answers if name.endswith(".family")}
        assert set(shares(lower(space.architecture(genotype)))) == chosen


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mobilenet_v1", "depthwise_separable"),
        ("mobilenet_v2", "mbconv"),
        ("resnext50_32x4d", "residual"),
        ("densenet121", "dense"),
        ("fractalnet_20", "fractal"),
        ("googlenet", "inception"),
    ],
)
def test_a_published_network_is_of_one_family(name: str, family: str) -> None:
    found = shares(lower(REFERENCES[name]()))
    assert list(found) == [family]
    assert 0.5 < found[family] < 1


def test_families_have_plain_names() -> None:
    assert {block.family for block in BLOCKS.values()} - {""} == {
        *("mbconv", "depthwise_separable", "residual", "dense", "fractal", "inception", "cell")
    }


def test_a_family_changes_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(lower(SEVERAL))
    monkeypatch.setattr(MBConv, "family", "other")
    assert set(shares(lower(SEVERAL))) == {"other", "dense", "fractal"}
    assert digest(lower(SEVERAL)) == before
