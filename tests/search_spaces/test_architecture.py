"""Architectures: lowered under names that a person expects, written and read strictly."""

import copy
import pickle
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any

import numpy as np
import pytest

from search_spaces.architecture import Architecture, from_document, lower, to_document
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.graph import MAX_NODES
from search_spaces.identity import digest
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.mbconv import MBConvSpace
from search_spaces.primitives import AvgPool2d
from search_spaces.reference import REFERENCES
from search_spaces.strict_json import JsonError, dumps, loads

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pool(BlockSpec):
    """Halves the map."""

    size: int = 2

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        return scope.add("pool", AvgPool2d(self.size, self.size), inputs[-1])


def small(**changes: Any) -> Architecture:
    values: dict[str, Any] = {
        "title": "Small",
        "input_shape": (1, 12, 10),
        "stem": ConvNormAct(8),
        "stages": ((MBConv(8), MBConv(8, 5)), (MBConv(12, stride=2, squeeze_ratio=0.0),)),
        "head": Classifier(3, width=16, dropout=0.1),
    }
    return Architecture(**{**values, **changes})


def sound() -> Document:
    document: Document = loads(dumps(to_document(small())))
    return document


def test_modules_are_named_by_stage_and_block() -> None:
    graph = lower(small())
    names = [node.name for node in graph.nodes]
    assert names[:4] == ["input", "stem.conv", "stem.norm", "stem.act"]
    assert "stages.0.1.depthwise_conv" in names
    assert "stages.1.0.project_norm" in names
    assert names[-1] == "head.linear"
    assert graph.output_shape == (3,)


@pytest.mark.parametrize("name", REFERENCES)
def test_references_are_read_back(name: str) -> None:
    architecture = REFERENCES[name]()
    assert from_document(loads(dumps(to_document(architecture)))) == architecture


def test_children_of_a_space_are_read_back() -> None:
    space = MBConvSpace((3, 28, 20), 10, granularity="block")
    rng = np.random.default_rng(0)
    for _ in range(20):
        architecture = space.architecture(space.genome.sample_genotype(rng))
        again = from_document(loads(dumps(to_document(architecture))))
        assert again == architecture
        assert digest(lower(again)) == digest(lower(architecture))


def test_blocks_of_others_are_read_where_they_are_named() -> None:
    architecture = small(stem=Pool())
    document = to_document(architecture)
    assert from_document(document, blocks={"Pool": Pool}) == architecture
    with pytest.raises(JsonError, match=r"architecture\.stem\.type must be a known block, got"):
        from_document(document)


def test_architectures_are_frozen_values() -> None:
    assert small() == small()
    assert hash(small()) == hash(small())
    assert small() != small(title="Other")
    assert pickle.loads(pickle.dumps(small())) == small()  # noqa: S301 - our own pickle
    assert replace(small(), title="Other").title == "Other"
    with pytest.raises(FrozenInstanceError):
        small().title = "Other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": "small"}, "class name must be a free identifier in CapWords"),
        ({"stages": ()}, "stages must hold at least one block each"),
        ({"stages": ((MBConv(8),), ())}, "stages must hold at least one block each"),
    ],
)
def test_what_is_no_architecture_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem": ConvNormAct(0)}, "out_channels must be from 1"),
        ({"stem": ConvNormAct(10**12)}, "out_channels must be from 1 to 65536"),
        ({"stem": ConvNormAct(8, stride=0)}, "stride must be from 1"),
        ({"stem": ConvNormAct(8, kernel_size=0)}, "must be from"),
        ({"stem": Pool(20)}, "stem.pool: height 12 with padding 0 is smaller than the window 20"),
        ({"head": Classifier(0)}, "out_features must be from 1"),
        ({"stages": ((MBConv(8, activation="evil"),),)}, "kind must be one of relu"),
        ({"input_shape": (1, 0, 8)}, "height must be from 1"),
    ],
)
def test_a_block_that_does_not_fit_is_refused_when_lowered(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        lower(small(**changes))
    assert message in str(caught.value)


def test_a_network_too_long_is_refused_soon() -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match=f"at most {MAX_NODES} nodes"):
        lower(small(stages=((MBConv(8),) * 5_000,)))
    assert time.process_time() - begin < 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MBConv(8, expansion=0), "expansion must be at least 1, got 0"),
        (lambda: MBConv(8, squeeze_ratio=-0.1), "squeeze_ratio must be from 0 to 1"),
        (lambda: MBConv(8, squeeze_ratio=float("nan")), "squeeze_ratio must be from 0 to 1"),
        (lambda: Classifier(3, width=-1), "width must be at least 0, got -1"),
    ],
)
def test_values_that_no_block_can_have_are_refused(
    make: Callable[[], BlockSpec], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def stem(**values: Any) -> Callable[[Document], None]:
    return lambda document: document["stem"].update(values)


def top(**values: Any) -> Callable[[Document], None]:
    return lambda document: document.update(values)


def without(key: str) -> Callable[[Document], None]:
    def plant(document: Document) -> None:
        del document[key]

    return plant


HOSTILE: dict[str, tuple[Callable[[Document], None], str]] = {
    "another version": (top(schema_version=99), "architecture.schema_version must be 1, got 99"),
    "an unknown field": (top(more=1), "architecture: unknown field 'more'"),
    "no version": (without("schema_version"), "field 'schema_version' is missing"),
    "no title": (without("title"), "architecture: field 'title' is missing"),
    "no shape": (without("input_shape"), "architecture: field 'input_shape' is missing"),
    "no stem": (without("stem"), "architecture: field 'stem' is missing"),
    "no stages": (without("stages"), "architecture: field 'stages' is missing"),
    "no head": (without("head"), "architecture: field 'head' is missing"),
    "a title that is code": (top(title="A:\n import os"), "architecture: class name must be"),
    "a title of another type": (top(title=3), "architecture.title must be str, got 3"),
    "a shape of two": (top(input_shape=[3, 8]), "architecture.input_shape must be three whole"),
    "a shape of floats": (top(input_shape=[3, 8.0, 8]), "architecture.input_shape must be three"),
    "true for a side": (top(input_shape=[True, 8, 8]), "architecture.input_shape must be three"),
    "a shape that is none": (top(input_shape=None), "architecture.input_shape must be list"),
    "stages that are none": (top(stages={}), "architecture.stages must be list, got dict"),
    "a stage that is none": (top(stages=[{}]), "architecture.stages must be lists of blocks"),
    "no stage": (top(stages=[]), "architecture: stages must hold at least one block each"),
    "an empty stage": (top(stages=[[]]), "architecture: stages must hold at least one block each"),
    "a block that is none": (
        top(stages=[[3]]),
        "architecture.stages[0][0] must be an object, got 3",
    ),
    "a stem that is none": (top(stem=None), "architecture.stem must be dict, got None"),
    "a block without a type": (
        top(stem={"width": 3}),
        "architecture.stem: field 'type' is missing",
    ),
    "an unknown block": (
        stem(type="os.system"),
        "architecture.stem.type must be a known block",
    ),
    "a type that is no text": (stem(type=[]), "architecture.stem.type must be str, got list"),
    "an unknown value": (stem(evil=1), "architecture.stem: unknown field 'evil'"),
    "a width of 1e12": (
        stem(width=1e12),
        "architecture.stem.width must be int, got 1000000000000.0",
    ),
    "true for one": (stem(stride=True), "architecture.stem.stride must be int, got True"),
    "an expression": (stem(width="2 * 2"), "architecture.stem.width must be int, got '2 * 2'"),
    "a missing value": (
        lambda document: document["stem"].pop("width"),
        "architecture.stem: field 'width' is missing",
    ),
    "a value out of range": (
        lambda document: document["stages"][0][1].update(expansion=0),
        "architecture.stages[0][1]: expansion must be at least 1, got 0",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_in_one_line_with_a_place(name: str) -> None:
    plant, message = HOSTILE[name]
    document = sound()
    plant(document)
    with pytest.raises(JsonError) as caught:
        from_document(document)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("document", [None, 1, "architecture", [], True])
def test_what_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(JsonError, match=r"^architecture must be an object"):
        from_document(document)


def test_random_damage_is_refused_or_harmless() -> None:
    refused: list[str] = []
    odd: list[Any] = [None, True, -1, 0, 2.5, 10**12, "", "x", [], [3, 4], {}]
    for key in sound():
        for value in odd:
            document = copy.deepcopy(sound())
            document[key] = value
            with pytest.raises(JsonError) as caught:
                from_document(document)
            refused.append(str(caught.value))
    for key in sound()["stem"]:
        for value in odd:
            document = sound()
            document["stem"][key] = value
            try:
                lower(from_document(document))
            except ValueError as error:
                refused.append(str(error))
    assert all(len(told.splitlines()) == 1 for told in refused)
