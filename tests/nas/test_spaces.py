"""Search spaces as documents and on one screen."""

from typing import Any

import pytest

from nas import spaces
from nas.errors import NasError
from nas.spaces import space_document, space_text
from search_spaces.space import SearchSpace
from search_spaces.strict_json import dumps, loads

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the samples that a user gets."""
    assert spaces.SAMPLES == 1000
    monkeypatch.setattr(spaces, "SAMPLES", 100)


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


@pytest.mark.parametrize("shape", [SHAPE, (3, 224, 224)])
@pytest.mark.parametrize("granularity", ["stage", "block"])
def test_the_text_of_a_space_fits_one_screen(
    shape: tuple[int, int, int], granularity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces, "SAMPLES", 5)
    text = space_text(space_document("mbconv", shape, 10, options={"granularity": granularity}))
    lines = text.splitlines()
    assert_on_one_screen(text)
    assert "x".join(map(str, shape)) in lines[0]
    assert "genotypes" in lines[0]
    assert "100.0 % of the different genotypes" in lines[-5]
    assert lines[-3].split() == ["smallest", "median", "largest"]
    assert [line.split()[0] for line in lines[-2:]] == ["parameters", "MACs"]


def assert_on_one_screen(text: str) -> None:
    lines = text.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def document_of(*decisions: tuple[str, list[object]]) -> dict[str, Any]:
    costs = {"smallest": 1, "median": 2, "largest": 10**9}
    return {
        "name": "own",
        "input_shape": [3, 224, 224],
        "num_classes": 1000,
        "genotypes": str(10**40),
        "samples": 1000,
        "distinct_share": 0.5,
        "decisions": [{"name": name, "options": options} for name, options in decisions],
        "costs": {"params": costs, "macs": costs},
    }


def test_decisions_with_the_same_options_share_a_row() -> None:
    rows = [("kernel", [3, 5]), *((f"stage{place}.kernel", [3, 5]) for place in (0, 1, 2, 5))]
    rows += [("stage0.block1.width", [8]), ("stage1.block0.width", [8]), ("stage3.kernel", [7])]
    lines = space_text(document_of(*rows)).splitlines()
    assert lines[0] == "own for 3x224x224 images of 1000 classes: about 10^40.0 genotypes"
    assert [line.split("  ")[0] for line in lines[3:7]] == [
        "kernel",
        "stage0-2,5.kernel",
        "stage0-1.block0-1.width (2 of these)",
        "stage3.kernel",
    ]
    assert [line.rsplit("  ", 1)[1].strip() for line in lines[3:7]] == ["3, 5", "3, 5", "8", "7"]


def test_a_space_of_any_size_fits_one_screen() -> None:
    many = [(f"stage{place}.{word}", [place, place + 1]) for place in range(30) for word in "abc"]
    text = space_text(document_of(*many))
    assert_on_one_screen(text)
    assert "stage0-29.b" in text
    assert "30, .. 30 (31)" in text or ".. 30 (31)  (each some of these)" in text
    words = [("x" * place, ["y" * 200, "z"]) for place in range(1, 90)]
    text = space_text(document_of(*words))
    assert_on_one_screen(text)
    assert "and 61 more" in text
    assert "2 options" in text


def test_the_share_of_distinct_networks_is_that_of_different_genotypes(
    mini: type[SearchSpace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mini has twelve genotypes and six networks: its labels change nothing."""
    monkeypatch.setattr(spaces, "SAMPLES", 60)
    monkeypatch.setattr(spaces, "make_space", lambda *_: mini((1, 8, 8), 2))
    document = space_document("mini", SHAPE, 2, options={})
    assert document["samples"] == 12
    # Twelve draws of twelve genotypes: some come twice, and count once.
    assert document["distinct_networks"] <= 6 < document["distinct_genotypes"] < 12
    share = document["distinct_networks"] / document["distinct_genotypes"]
    assert document["distinct_share"] == share < 1


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
