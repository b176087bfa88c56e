"""Networks and spaces as documents and as text."""

from pathlib import Path

import pytest

from nas.drawing import draw
from nas.errors import NasError
from nas.showing import (
    network_document,
    network_text,
    write_drawing,
)
from search_spaces.architecture import lower
from search_spaces.reference import REFERENCES
from search_spaces.strict_json import dumps, loads


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
