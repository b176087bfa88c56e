"""The quantised network: near the float one on real images, or not written."""

import json
import re
import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas import evaluating, formats
from nas.commands.network import export as command
from nas.commands.network import predict
from nas.errors import NasError
from nas.formats import running
from nas.loading import find

EXTRA = find_spec("onnxruntime") is not None
needs_extra = pytest.mark.skipif(not EXTRA, reason="needs nas-engine[onnx]")
FILE = "model_int8.onnx"


@pytest.fixture(scope="module")
def archive(images: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The images of the finished search as a file."""
    path = tmp_path_factory.mktemp("data") / "own.npz"
    pixels, labels = images
    np.savez(path, images=pixels, labels=labels)
    return str(path)


@pytest.fixture(scope="module")
def quantised(exported: Path, archive: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "out"
    command(str(exported), folder, format_=["int8"], data=archive, calibration=20)
    return folder


def test_it_needs_images() -> None:
    with pytest.raises(NasError, match="--format int8 needs --data, with images") as caught:
        formats.chosen(["int8"])
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format_": ["onnx"], "calibration": 5}, "--calibration needs --format int8"),
        ({"group": "person"}, "need --data"),
        ({"download": True}, "need --data"),
        ({"data": "digits"}, "class '2' must be one of the network's: 0, 1"),
        ({"data": "nowhere.npz"}, "nowhere.npz"),
    ],
)
def test_what_has_no_meaning_is_refused_before_anything_is_written(
    exported: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(NasError, match=re.escape(message)) as caught:
        command(str(exported), tmp_path / "out", **options)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_refused_before_images_are_read(
    exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NasError, match="is there already"):
        command(str(exported), tmp_path, data="nowhere.npz")


@pytest.mark.parametrize(
    ("format_", "message", "code"),
    [("int9", "did you mean int8", 2), ("int8", "holds no model_int8.onnx; write one", 2)],
)
def test_what_the_folder_does_not_hold_cannot_be_run(
    exported: Path, monkeypatch: pytest.MonkeyPatch, format_: str, message: str, code: int
) -> None:
    monkeypatch.setattr(running, "find_spec", lambda name: True)
    with pytest.raises(NasError, match=message) as caught:
        running.network_of(find(exported).winner, exported, format_)
    assert caught.value.exit_code == code


def test_without_onnx_runtime_it_is_said_what_to_install(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    with pytest.raises(NasError, match=r"needs onnxruntime; pip install 'nas-engine\[onnx\]'") as c:
        running.network_of(find(exported).winner, exported, "int8")
    assert c.value.exit_code == 5


# Quantised ----------------------------------------------------------------------------------


@pytest.mark.slow
@needs_extra
def test_the_card_says_what_it_costs_and_what_it_is_worth(quantised: Path) -> None:
    card = (quantised / "README.md").read_text()
    assert "on random images and 12 of the data" in card
    assert "calibrated with 20 training images of own.npz" in card
    found = re.search(
        r"on 12 validation images: accuracy ([\d.]+), of the float network ([\d.]+); the same most "
        r"probable class on a share of ([\d.]+) \(at least 0\.9\); scores differ by at most "
        r"([\d.]+) of the largest one",
        card,
    )
    assert found is not None
    assert min(map(float, found.groups()[:3])) >= 0.9
    assert 0 < float(found[4]) < 0.2
    size = (quantised / FILE).stat().st_size
    assert re.search(rf"{size:,} bytes, [\d.]+ of the float network as ONNX; [\d.]+ of", card)
    assert f"`{FILE}`" in card
    assert f"  {FILE}\n" in (quantised / "SHA256SUMS").read_text()


@pytest.mark.slow
@needs_extra
def test_weights_are_whole_numbers_by_channel_but_those_of_the_last_layer(quantised: Path) -> None:
    onnx = import_module("onnx")
    model = onnx.load(quantised / FILE)
    makers = {node.output[0]: node for node in model.graph.node}
    initial = {value.name: value for value in model.graph.initializer}
    layers = [node for node in model.graph.node if node.op_type in {"Conv", "Gemm"}]
    assert len(layers) >= 3
    for layer in layers[:-1]:
        weights = makers[layer.input[1]]
        assert weights.op_type == "DequantizeLinear"
        assert initial[weights.input[0]].data_type == onnx.TensorProto.INT8
        assert len(initial[weights.input[1]].dims) == 1  # a scale for each channel
        zero_point = initial[makers[layer.input[0]].input[2]]
        assert zero_point.data_type == onnx.TensorProto.UINT8
    assert initial[layers[-1].input[1]].data_type == onnx.TensorProto.FLOAT
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)


@pytest.mark.slow
@needs_extra
def test_the_same_command_writes_the_same_file(
    exported: Path, archive: str, quantised: Path, tmp_path: Path
) -> None:
    command(str(exported), tmp_path / "out", format_=["int8"], data=archive, calibration=20)
    assert (tmp_path / "out" / FILE).read_bytes() == (quantised / FILE).read_bytes()


@pytest.mark.slow
@needs_extra
def test_a_network_that_is_spoilt_is_refused(
    exported: Path, archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("nas.formats.int8_model")
    usual = module.quantise

    def blind(plain: Path, quantised: Path, calibration: torch.Tensor) -> None:
        usual(plain, quantised, torch.full_like(calibration, 1e-6))

    monkeypatch.setattr(module, "quantise", blind)
    with pytest.raises(NasError, match="of 12 validation images get the same class") as caught:
        command(str(exported), tmp_path / "out", format_=["int8"], data=archive)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs_extra
def test_the_folder_alone_predicts_and_is_measured(
    quantised: Path, archive: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        evaluating.evaluate(quantised, data=archive, split="validation", format_=format_)
        for format_ in (None, "int8")
    ]
    assert [one["format"] for one in found] == [None, "int8"]
    assert found[0]["metrics"]["log_loss"] != found[1]["metrics"]["log_loss"]
    plain, whole = (one["metrics"]["accuracy"] for one in found)
    assert whole == pytest.approx(plain, abs=0.1)
    image = tmp_path / "image.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(image)
    predict(str(quantised), [image], format_="int8", json=True)
    (row,) = json.loads(capsys.readouterr().out)["images"]
    assert row["top"][0]["label"] in {"0", "1"}


@pytest.mark.slow
@needs_extra
@pytest.mark.parametrize("fault", ["damaged", "other"])
def test_a_file_that_is_not_of_the_network_is_one_line(
    quantised: Path, archive: str, tmp_path: Path, fault: str
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(quantised, folder)
    if fault == "damaged":
        (folder / FILE).write_bytes(b"no model")
    else:
        onnx = import_module("onnx")
        model = onnx.load(folder / FILE)
        model.graph.output[0].name = model.graph.node[-1].output[0] = "others"
        onnx.save(model, folder / FILE)
    message = "cannot be read" if fault == "damaged" else "must have the input images"
    with pytest.raises(NasError, match=message) as caught:
        evaluating.evaluate(folder, data=archive, format_="int8")
    assert caught.value.exit_code == 2
