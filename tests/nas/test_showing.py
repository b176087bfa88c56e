"""Networks and spaces as documents and as text."""

from pathlib import Path

import pytest

from nas import showing
from nas.drawing import draw
from nas.errors import NasError
from nas.showing import (
    network_document,
    network_text,
    space_document,
    space_text,
    write_drawing,
)
from search_spaces.architecture import lower
from search_spaces.reference import REFERENCES
from search_spaces.strict_json import dumps, loads

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the samples that a user gets."""
    assert showing.SAMPLES == 1000
    monkeypatch.setattr(showing, "SAMPLES", 100)


def test_a_network_is_shown_with_its_layers_and_their_sums() -> None:
    document = network_document("b0", lower(REFERENCES["efficientnet_b0"]()))
    assert (document["name"], document["input_shape"]) == ("b0", [3, 224, 224])
    # arXiv:1905.11946, table 2 says 5.3M and 0.39B; torchvision's B0 has exactly these.
    assert (document["params"], document["macs"]) == (5_288_548, 385_814_752)
    for cost in ("params", "macs"):
        assert sum(layer[cost] for layer in document["layers"]) == document[cost]
    assert document["layers"][0]["output_shape"] == [3, 224, 224]
    assert document["layers"][-1]["output_shape"] == document["output_shape"] == [1000]
    assert loads(dumps(document)) == document


def test_the_text_has_a_line_per_layer_that_computes() -> None:
    document = network_document("b0", lower(REFERENCES["efficientnet_b0"]()))
    lines = network_text(document).splitlines()
    hidden = {"batch_norm2d", "activation"}
    shown = [layer for layer in document["layers"] if layer["op"] not in hidden]
    assert len(lines) == 1 + len(shown) + 3
    for layer, line in zip(shown, lines[1:], strict=False):
        assert line.split()[:2] == [layer["name"], layer["op"]]
    assert lines[-1].startswith("b0, input 3x224x224: 5,288,548 parameters, 385,814,752 MACs, ")
    assert all(line == line.rstrip() for line in lines)


def test_a_drawing_never_replaces_a_file(tmp_path: Path) -> None:
    graph = lower(REFERENCES["efficientnet_b0"]())
    write_drawing(tmp_path / "b0.svg", graph, "b0")
    assert (tmp_path / "b0.svg").read_text() == draw(graph, "b0")
    for name, message in (("b0.svg", "is there already"), ("b0", "ends in .svg, got")):
        with pytest.raises(NasError, match=message) as caught:
            write_drawing(tmp_path / name, graph, "another")
        assert caught.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["b0.svg"]
    assert (tmp_path / "b0.svg").read_text() == draw(graph, "b0")


def test_a_space_is_shown_with_its_size_and_what_its_networks_cost() -> None:
    document = space_document("mbconv", SHAPE, 10, options={})
    assert document["input_shape"] == [1, 8, 8]
    assert int(document["genotypes"]) > 1000
    assert document["samples"] == 100
    assert 0 < document["distinct_networks"] <= 100
    for costs in document["costs"].values():
        assert costs["smallest"] < costs["median"] < costs["largest"]
    names = [decision["name"] for decision in document["decisions"]]
    assert len(names) == len(set(names))
    assert {"resolution", "activation", "stage0.depth"} <= set(names)
    assert loads(dumps(document)) == document
    assert document == space_document("mbconv", SHAPE, 10, options={})


def test_options_of_a_space_count() -> None:
    plain, by_block = (
        int(space_document("mbconv", SHAPE, 10, options=options)["genotypes"])
        for options in ({}, {"granularity": "block"})
    )
    assert by_block > plain


def test_the_text_of_a_space_fits_one_screen() -> None:
    for shape in (SHAPE, (3, 224, 224)):
        text = space_text(space_document("mbconv", shape, 10, options={}))
        lines = text.splitlines()
        assert len(lines) <= 40
        assert "x".join(map(str, shape)) in lines[0]
        assert "genotypes" in lines[0]
        assert lines[-2].split()[0] == "params"
        assert lines[-1].split()[0] == "macs"


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((1, 7, 8), 10, "sides of at least 8 pixels, got 1x7x8"),
        ((0, 8, 8), 10, "must have a channel"),
        ((99_999, 8, 8), 10, "channels"),
        ((1, 8, 8), 1, "num_classes must be at least 2, got 1"),
        ((1, 8, 8), 10**9, "65536"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    shape: tuple[int, int, int], classes: int, message: str
) -> None:
    with pytest.raises(NasError, match=message) as caught:
        space_document("mbconv", shape, classes, options={})
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
