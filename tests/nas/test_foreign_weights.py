"""Weights in torch's own format are read as tensors alone, or refused in one line."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nas.errors import NasError
from nas.foreign_weights import Converted, convert, matched
from search_spaces.architecture import lower
from search_spaces.modules import build
from search_spaces.reference import REFERENCES

NETWORK = "densenet_bc_100_12"
GRAPH = lower(REFERENCES[NETWORK]())


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build(GRAPH).state_dict()


def foreign(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same under other names, without counters of batches."""
    kept = [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
    return {f"w{place}": value for place, value in enumerate(kept)}


def refusal(source: Path) -> str:
    out = source.with_name("out.safetensors")
    with pytest.raises(NasError) as caught:
        convert(source, out, NETWORK)
    assert caught.value.exit_code == 2
    assert not out.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(value, expected[name]) for name, value in found.items()
    )


def test_a_state_dict_of_the_network_is_taken_by_name() -> None:
    weights = state()
    found, by_name = matched(dict(reversed(weights.items())), GRAPH)
    assert by_name
    assert same(found, weights)


def test_a_state_dict_with_other_names_is_taken_in_its_order() -> None:
    weights = state()
    found, by_name = matched(foreign(weights), GRAPH)
    assert not by_name
    assert same(found, weights)


def test_another_shape_is_named_with_its_counterpart() -> None:
    values = foreign(state())
    values["w0"], values["w1"] = values["w1"], values["w0"]
    with pytest.raises(
        ValueError, match=r"w0 must have shape \(24, 3, 3, 3\), as stem.conv.weight"
    ):
        matched(values, GRAPH)


def test_other_numbers_of_tensors_and_odd_values_are_refused() -> None:
    values = foreign(state())
    with pytest.raises(ValueError, match=f"must hold {len(values)} tensors, got 1$"):
        matched({"one": torch.zeros(1)}, GRAPH)
    for odd in (torch.full((24, 3, 3, 3), torch.nan), torch.zeros(24, 3, 3, 3, dtype=torch.int64)):
        with pytest.raises(ValueError, match="w0 must hold finite floats"):
            matched({**values, "w0": odd}, GRAPH)


@pytest.mark.parametrize(
    "key", [None, *(pytest.param(key, marks=pytest.mark.slow) for key in ("state_dict", "model"))]
)
def test_a_file_is_converted(tmp_path: Path, key: str | None) -> None:
    weights = foreign(state())
    weights["w0"] = weights["w0"].to(memory_format=torch.channels_last)  # as some files have it
    torch.save(weights if key is None else {key: weights, "epoch": 3}, tmp_path / "x.pth")
    out = tmp_path / "out.safetensors"
    done = convert(tmp_path / "x.pth", out, NETWORK)
    assert done == Converted(len(state()), GRAPH.params, by_name=False)
    assert same(load_file(out), state())


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["plain", "torch"])
def test_code_in_a_file_is_not_run(tmp_path: Path, kind: str) -> None:
    source, touched = tmp_path / "x.pth", tmp_path / "touched"
    if kind == "plain":
        source.write_bytes(pickle.dumps(Payload(touched)))
    else:
        torch.save({"w0": torch.zeros(1), "more": Payload(touched)}, source)
    assert "no file of tensors alone" in refusal(source)
    assert not touched.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([torch.zeros(1)], "holds no state dict"),
        ({"w0": torch.zeros(1), "more": 3}, "other things than tensors with names"),
        ({"w0": torch.zeros(1).expand(2**40)}, "larger than the file"),
        ({"w0": torch.zeros(1)}, "must hold 497 tensors, got 1"),
    ],
)
def test_files_that_hold_no_state_dict_are_refused(
    tmp_path: Path, content: object, expected: str
) -> None:
    torch.save(content, tmp_path / "x.pth")
    assert expected in refusal(tmp_path / "x.pth")


@pytest.mark.slow
@pytest.mark.parametrize("length", [0, 100, 100_000])
def test_damaged_files_are_refused(tmp_path: Path, length: int) -> None:
    source = tmp_path / "x.pth"
    torch.save(state(), source)
    source.write_bytes(source.read_bytes()[:length])
    assert "is damaged" in refusal(source)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in refusal(tmp_path / "x.pth")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "x.pth")
    save_file({"mine": torch.zeros(1)}, tmp_path / "out.safetensors")
    with pytest.raises(NasError, match="is there already"):
        convert(tmp_path / "x.pth", tmp_path / "out.safetensors", NETWORK)
    assert list(load_file(tmp_path / "out.safetensors")) == ["mine"]
