"""Networks by name, file and folder; nothing in a foreign file is trusted or executed."""

import json
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import nas
from nas.cli import run
from nas.errors import NasError
from nas.loading import find

PACKAGES = ("nas", "search_spaces", "strategies", "estimators")
ROOT = Path(nas.__file__).parent.parent


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of an exported folder, to be damaged."""
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def outputs(model: nn.Module) -> Tensor:
    images = torch.linspace(-1, 1, 2 * 64).reshape(2, 1, 8, 8)
    with torch.inference_mode():
        return model(images)  # type: ignore[no-any-return]


def refusal(source: Path | str) -> str:
    """What ``nas.load`` says of it: one line, exit code 2."""
    with pytest.raises(NasError) as caught:
        nas.load(source)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_its_folder_and_its_file_are_one_network(exported: Path) -> None:
    expected = outputs(nas.load(exported))
    for source in (exported.parent, exported / "architecture.json", str(exported)):
        model = nas.load(source)
        assert not model.training
        assert torch.equal(outputs(model), expected)


def test_loading_gives_the_outputs_of_the_weights_in_the_folder(folder: Path) -> None:
    before = outputs(nas.load(folder))
    weights = load_file(folder / "model.safetensors")
    weights["head.linear.bias"] += 1
    save_file(weights, folder / "model.safetensors")
    assert torch.allclose(outputs(nas.load(folder)), before + 1)


def test_the_result_of_a_search_hands_out_its_network(finished: Any, exported: Path) -> None:
    assert torch.equal(outputs(finished.result.model), outputs(nas.load(exported)))


def test_without_weights_a_network_is_freshly_initialised(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    first, second = outputs(nas.load(folder)), outputs(nas.load(folder))
    assert not torch.equal(first, second)


def test_a_reference_is_loaded_by_name() -> None:
    model = nas.load("efficientnet_b0")
    assert sum(parameter.numel() for parameter in model.parameters()) == 5_288_548
    assert not model.training


def test_a_reference_is_loaded_for_other_images_and_classes() -> None:
    model = nas.load("densenet_40_12", input_shape=(1, 8, 8), num_classes=3)
    assert outputs(model).shape == (2, 3)
    with pytest.raises(NasError, match="sides of at least 63 pixels for alexnet, got 8x8"):
        nas.load("alexnet", input_shape=(1, 8, 8))
    with pytest.raises(NasError, match="num_classes must be left out for siamese_branch"):
        nas.load("siamese_branch", num_classes=3)


def test_a_network_that_is_no_reference_cannot_be_adapted(exported: Path) -> None:
    with pytest.raises(NasError, match="must be left out unless a reference network is named"):
        nas.load(exported, num_classes=3)


def test_a_network_of_foreign_blocks_is_still_a_network_and_keeps_its_form(folder: Path) -> None:
    edit(folder, lambda document: document["architecture"]["stem"].update(type="Ghost"))
    found = find(folder).winner.architecture
    assert found is not None
    assert found["stem"]["type"] == "Ghost"
    assert outputs(nas.load(folder)).shape == (2, 2)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "architecture.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


# Things that are not there -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("efficientnet_b9", "no file or folder, and there is no 'efficientnet_b9'; did you mean"),
        ("nowhere/at/all", "no file or folder"),
        ("a\0b", "no file or folder"),
        ("x" * 5000, "cannot read x"),
        ("/dev/zero", "no file or folder"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(source: str, message: str) -> None:
    said = refusal(source)
    assert message in said
    assert len(said) < 400


def test_a_run_that_has_not_finished_is_named(tmp_path: Path) -> None:
    assert "holds no architecture.json; has its search finished?" in refusal(tmp_path)


# Damaged files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("schema_version"), "schema_version"),
        (lambda d: d.update(schema_version=999), "schema_version must be 1, got 999"),
        (lambda d: d.pop("graph"), "'graph' is missing"),
        (lambda d: d.update(graph=[]), "graph must be dict"),
        (lambda d: d["graph"]["nodes"][1].update(op="eval"), "op must be one of"),
        (lambda d: d["graph"]["nodes"][1].update(out_channels=10**12), "out_channels"),
        (lambda d: d["graph"]["nodes"][1].update(more=1), "unknown field 'more'"),
        (lambda d: d["graph"]["nodes"].pop(2), "which it cannot see"),
        (lambda d: d["graph"]["nodes"].pop(), "texts, one for each output"),
        (lambda d: d["preprocessing"]["classes"].append("third"), "must be 2 texts"),
        (lambda d: d["preprocessing"].update(classes=[1, 2]), "must be 2 texts"),
        (lambda d: d["preprocessing"].update(mean=[]), "mean must be 1 numbers"),
        (lambda d: d["preprocessing"].update(std=[True]), "std must be 1 numbers"),
        (lambda d: d["preprocessing"].update(std=["x"]), "std must be 1 numbers"),
        (lambda d: d.update(preprocessing=7), "preprocessing must be an object"),
        (lambda d: d.update(figures={"a": 1}), "figures must be an object of texts"),
        (lambda d: d.update(figures=[]), "figures must be an object of texts"),
        (lambda d: d.update(by_class={}), "by_class must be a list"),
        (lambda d: d.update(preprocessing=None), "and there must be classes"),
        (lambda d: d["by_class"].pop(), "by_class must have 2 entries, one a class"),
        (lambda d: d["by_class"][1].pop("f1"), "by_class.1: field 'f1' is missing"),
        (lambda d: d["by_class"][0].update(support=True), "by_class.0.support must be int"),
        (lambda d: d["by_class"][0].update(recall=1.5), "by_class.0 must be a count and three"),
        (lambda d: d["by_class"][0].update(support=-1), "by_class.0 must be a count and three"),
    ],
)
def test_a_damaged_architecture_is_refused_with_the_place(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(folder, change)
    said = refusal(folder)
    assert message in said
    assert "architecture.json" in said


def test_a_number_beyond_all_numbers_is_refused(folder: Path) -> None:
    path = folder / "architecture.json"
    text, count = re.subn(r'"mean": \[\s*[0-9.e-]+', '"mean": [1e999', path.read_text())
    assert count == 2  # preprocessing, and the same in the terms of timm
    path.write_text(text)
    assert "architecture.json" in refusal(folder)


def weights_changed(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> str:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    return refusal(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("stem.conv.weight"), "1 names differ, stem.conv.weight is missing"),
        (lambda w: w.update({"x" * 999: torch.ones(1)}), "1 names differ, xxx"),
        (
            lambda w: w.update({"head.linear.bias": torch.ones(3)}),
            "head.linear.bias must have shape (2,), got (3,)",
        ),
        (
            lambda w: w.update({"head.linear.bias": torch.ones(2, dtype=torch.float64)}),
            "head.linear.bias must be torch.float32, got torch.float64",
        ),
        (
            lambda w: w.update({"head.linear.bias": torch.tensor([0.0, float("nan")])}),
            "head.linear.bias holds values that are not finite",
        ),
        (
            lambda w: w.update({"head.linear.bias": torch.tensor([0.0, float("inf")])}),
            "head.linear.bias holds values that are not finite",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    folder: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    said = weights_changed(folder, change)
    assert message in said
    assert "model.safetensors" in said
    assert len(said) < 400


def of_nothing(whole: bytes) -> bytes:
    return b""


def truncated(whole: bytes) -> bytes:
    return whole[:-50]


def cut_in_the_header(whole: bytes) -> bytes:
    return whole[:100]


def of_a_huge_header(whole: bytes) -> bytes:
    return struct.pack("<Q", 2**62) + whole[8:]


def of_overlapping_tensors(whole: bytes) -> bytes:
    size = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + whole[8 + size :]


@pytest.mark.parametrize(
    "damage", [of_nothing, truncated, cut_in_the_header, of_a_huge_header, of_overlapping_tensors]
)
def test_a_damaged_weights_file_is_refused(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert refusal(folder).startswith(f"weights: {path}: ")


# Pickles -----------------------------------------------------------------------------------


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def touched(tmp_path: Path) -> Path:
    return tmp_path / "touched"


def plant(path: Path, touched: Path) -> None:
    """A file that runs code when it is unpickled, in torch's format and plainly."""
    if path.suffix == ".pt":
        torch.save(Payload(touched), path)
    else:
        path.write_bytes(pickle.dumps(Payload(touched)))


def test_the_planted_pickle_does_run_where_it_is_unpickled(tmp_path: Path, touched: Path) -> None:
    plant(tmp_path / "x.pkl", touched)
    pickle.loads((tmp_path / "x.pkl").read_bytes())  # noqa: S301 - it is our own
    assert touched.exists()


@pytest.mark.parametrize("name", ["x.pt", "x.pkl", "architecture.json", "model.safetensors"])
def test_no_command_runs_what_is_in_a_file(
    folder: Path, touched: Path, name: str, tmp_path: Path
) -> None:
    plant(folder / name, touched)
    source = str(folder) if (folder / name).suffix in {".json", ".safetensors"} else folder / name
    out = tmp_path / "out"
    commands = [["show", str(source)], ["export", str(source), "--out", str(out)]]
    for command in commands:
        with pytest.raises(NasError) as caught:
            run(command)
        assert caught.value.exit_code == 2
    refusal(source)
    for flag in ("--space", "--strategy", "--estimator", "--data", "--device"):
        with pytest.raises(NasError):
            run(["search", flag, str(source), "--out", str(out)])
    assert not touched.exists()
    assert not out.exists()


def test_source_beside_an_architecture_is_not_run(folder: Path, touched: Path) -> None:
    (folder / "model.py").write_text(f"open({str(touched)!r}, 'w').close()\n")
    nas.load(folder)
    assert not touched.exists()


FORBIDDEN = re.compile(
    r"\bpickle\b|weights_only|torch\.load\(|(?<![\w.])(eval|exec|compile|__import__)\(|yaml\.load|"
    r"shell=True|os\.system|joblib|dill\b|marshal\b"
)


def offences(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if FORBIDDEN.search(line)]


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "x = torch.load(path)",
        "torch.load(path, weights_only=False)",
        "y = eval(text)",
        "exec(source)",
        "yaml.load(file)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_search_for_dangerous_calls_finds_them(line: str) -> None:
    assert offences(f"a = 1\n{line}\n") == [line]


def test_the_search_for_dangerous_calls_spares_their_namesakes() -> None:
    assert offences("model.eval()\nspec.loader.exec_module(module)\nre.compile(text)\n") == []


def test_no_package_of_ours_calls_what_runs_foreign_code() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(sources) > 40
    found = {path.name: lines for path in sources if (lines := offences(path.read_text()))}
    # What travels between our own processes, inside the cluster, and never through a file.
    transport = found.pop("ray_workers.py")
    assert sum("pickle.loads(" in line for line in transport) == 1
    assert not any(FORBIDDEN.search(line.replace("pickle", "")) for line in transport)
    # The one reader of torch's own format, in a process of its own: tensors and nothing else.
    (reader,) = found.pop("foreign_weights.py")
    assert reader == 'found = torch.load(source, map_location="cpu", weights_only=True)'
    assert found == {}
