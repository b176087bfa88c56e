"""Reference networks for other images and classes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from search_spaces.architecture import from_document, lower, to_document
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.reference import REFERENCES
from search_spaces.reference.adaptation import adapted
from search_spaces.strict_json import dumps, loads

IN_TORCHVISION = [name for name in REFERENCES if hasattr(torchvision.models, name)]
SMALLEST = {"densenet_40_12": 4, "densenet_bc_100_12": 4, "darts_v2": 3, "siamese_branch": 65}


def network(name: str, **wanted: Any) -> Graph:
    return lower(adapted(REFERENCES[name](), name=name, **wanted))


def refusal(name: str, **wanted: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        network(name, **wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_wanted_leaves_a_network_as_published() -> None:
    for name, make in REFERENCES.items():
        assert adapted(make(), name=name) == make()
        assert adapted(make(), name=name, input_shape=make().input_shape) == make()


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "siamese_branch"])
def test_classes_change_the_last_layer_and_channels_the_first(name: str) -> None:
    published = lower(REFERENCES[name]())
    _, height, width = published.input_shape
    changed = network(name, input_shape=(1, height, width), num_classes=7)
    assert changed.output_shape == (7,)
    differ = [
        place
        for place, (one, other) in enumerate(zip(published.nodes, changed.nodes, strict=True))
        if one.cost.params != other.cost.params
    ]
    first, without_weights = [], {0}  # the image, and what is only padded
    for place, node in enumerate(published.nodes):
        if node.inputs and without_weights.issuperset(node.inputs):
            if node.cost.params:
                first.append(place)
            else:
                without_weights.add(place)
    assert differ == [*first, len(published.nodes) - 1]


@pytest.mark.parametrize("name", REFERENCES)
def test_images_of_another_size_leave_the_weights_as_they_are(name: str) -> None:
    if name == "siamese_branch":
        assert network(name, input_shape=(1, 97, 105)).params < network(name).params
        return
    published = lower(REFERENCES[name]())
    for shape in ((3, 65, 129), (3, 256, 80)):
        graph = network(name, input_shape=shape)
        assert graph.params == published.params
        assert graph.output_shape == published.output_shape
        assert graph.input_shape == shape


@pytest.mark.parametrize("name", REFERENCES)
def test_the_smallest_side_that_is_told_works_and_none_below(name: str) -> None:
    channels = REFERENCES[name]().input_shape[0]
    smallest = SMALLEST.get(name, 1)
    if name in IN_TORCHVISION:
        meta = torchvision.models.get_model_weights(name).DEFAULT.meta
        smallest = meta["min_size"][0]
    network(name, input_shape=(channels, smallest, smallest + 40))
    if smallest > 1:
        shape = (channels, smallest + 40, smallest - 1)
        said = f"sides of at least {smallest} pixels for {name}, got {smallest + 40}x{smallest - 1}"
        assert said in refusal(name, input_shape=shape)


@pytest.mark.parametrize(
    ("name", "side", "classes"),
    [
        *(("resnet18", 28, 10), ("densenet_40_12", 8, 10), ("mobilenet_v1", 8, 5)),
        *(("googlenet", 28, 10), ("mobilenet_v2", 9, 3), ("densenet121", 29, 10)),
    ],
)
def test_an_adapted_network_reads_small_images(name: str, side: int, classes: int) -> None:
    graph = network(name, input_shape=(1, side, side), num_classes=classes)
    model = build(graph).eval()
    with torch.no_grad():
        output = model(torch.randn(2, 1, side, side))
    assert output.shape == (2, classes)
    assert torch.isfinite(output).all()


def test_an_adapted_network_is_written_and_read_back() -> None:
    architecture = adapted(
        REFERENCES["vgg11_bn"](), name="vgg11_bn", input_shape=(1, 40, 32), num_classes=3
    )
    assert from_document(loads(dumps(to_document(architecture)))) == architecture
    assert architecture == replace(architecture)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"num_classes": 0}, "num_classes must be from 1 to 65536, got 0"),
        ({"num_classes": 10**9}, "num_classes must be from 1 to 65536, got 1000000000"),
        ({"input_shape": (3, 32)}, "input_shape must be (channels, height, width) in whole"),
        ({"input_shape": (3, 32, 32.0)}, "input_shape must be (channels, height, width) in whole"),
        ({"input_shape": "3x32x32"}, "input_shape must be (channels, height, width) in whole"),
        ({"num_classes": 2.5}, "num_classes must be a whole number, got 2.5"),
        ({"input_shape": (0, 32, 32)}, "input_shape: channels must be from 1 to 65536, got 0"),
        ({"input_shape": (3, 0, 32)}, "input_shape: height must be from 1 to 16384, got 0"),
        ({"input_shape": (3, 32, 10**6)}, "input_shape: width must be from 1 to 16384"),
    ],
)
def test_what_no_network_can_be_adapted_to_is_refused(wanted: dict[str, Any], message: str) -> None:
    assert message in refusal("resnet18", **wanted)


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    shape = tuple(np.array([1, 9, 8]))
    graph = network("resnet18", input_shape=shape, num_classes=np.int64(3))
    assert graph == network("resnet18", input_shape=(1, 9, 8), num_classes=3)
    assert "np" not in repr(graph.input_shape)


def test_a_network_without_classes_says_so() -> None:
    assert "num_classes must be left out for siamese_branch" in refusal(
        "siamese_branch", num_classes=3
    )
