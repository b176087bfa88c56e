"""Scores from an exported folder for image files."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nas
from estimators.resizing import resized
from nas import cli
from nas.errors import NasError
from nas.export import export
from nas.loading import find
from nas.predicting import Predictor, predict, text
from nas.sliding import slide


@pytest.fixture
def pictures(tmp_path: Path, images: tuple[np.ndarray, np.ndarray]) -> list[Path]:
    """Six of the images that the exported network was trained on, as files."""
    paths = [tmp_path / f"{place}.png" for place in range(6)]
    for path, pixels in zip(paths, images[0], strict=False):
        Image.fromarray((pixels * 255).round().astype(np.uint8)).save(path)
    return paths


def test_probabilities_are_those_of_the_network_after_its_preprocessing(
    exported: Path, pictures: list[Path]
) -> None:
    document = predict(Predictor(str(exported)), pictures, top=2)
    preprocessing = find(exported).winner.preprocessing
    assert preprocessing is not None
    model = nas.load(exported)
    for path, row in zip(pictures, document["images"], strict=True):
        pixels = torch.from_numpy(np.asarray(Image.open(path), dtype=np.float32) / 255)
        image = (pixels - preprocessing.mean[0]) / preprocessing.std[0]
        with torch.inference_mode():
            expected = torch.softmax(model(image[None, None])[0], dim=0)
        assert row["file"] == str(path)
        assert [one["label"] for one in row["top"]] == [
            preprocessing.classes[place] for place in expected.argsort(descending=True)
        ]
        for one, value in zip(row["top"], expected.sort(descending=True).values, strict=True):
            assert one["probability"] == pytest.approx(float(value), rel=1e-5)


def test_an_image_goes_through_the_size_of_the_data_to_that_of_the_network(
    exported: Path, pictures: list[Path], tmp_path: Path
) -> None:
    # 8x8 pixels in memory; the file is larger, so that resizing at once gives other pixels.
    folder = tmp_path / "folder"
    shutil.copytree(exported, folder)
    document = json.loads((folder / "architecture.json").read_text())
    assert document["preprocessing"]["size"] == [8, 8]
    rng = np.random.default_rng(0)
    large = tmp_path / "large.png"
    Image.fromarray(rng.integers(0, 256, (31, 23), dtype=np.uint8)).save(large)
    document["preprocessing"]["size"] = [3, 5]
    (folder / "architecture.json").write_text(json.dumps(document))
    predictor = Predictor(str(folder))
    preprocessing = find(folder).winner.preprocessing
    assert preprocessing is not None
    pixels = torch.from_numpy(predictor.read(large))[None]
    normalised = (pixels - preprocessing.mean[0]) / preprocessing.std[0]
    twice = resized(resized(normalised, (3, 5)), (8, 8))
    with torch.inference_mode():
        expected = torch.softmax(nas.load(folder)(twice)[0].double(), dim=0).numpy()
    assert predictor.probabilities(pixels[0].numpy()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [3, [3], [0, 5], ["3", 5], [3, 5, 7]])
def test_a_size_that_is_none_is_refused(exported: Path, tmp_path: Path, size: object) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(exported, folder)
    document = json.loads((folder / "architecture.json").read_text())
    document["preprocessing"]["size"] = size
    (folder / "architecture.json").write_text(json.dumps(document))
    with pytest.raises(NasError, match=r"preprocessing\.size must be two numbers"):
        Predictor(str(folder))


def test_the_source_in_the_folder_is_never_run(
    exported: Path, pictures: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(exported, folder)
    (folder / "model.py").write_text("raise SystemExit('was run')")
    (folder / "architecture.svg").unlink()
    one, other = (predict(Predictor(str(f)), pictures, top=1) for f in (exported, folder))
    assert one == other


def test_a_run_folder_and_a_sliding_export_say_the_same(
    exported: Path, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    export(slide(find(exported).winner), tmp_path / "sliding")
    first = predict(Predictor(str(exported)), pictures, top=2)
    assert predict(Predictor(str(exported.parent)), pictures, top=2) == first
    sliding = predict(Predictor(str(tmp_path / "sliding")), pictures, top=2)
    for one, other in zip(first["images"], sliding["images"], strict=True):
        for left, right in zip(one["top"], other["top"], strict=True):
            assert left["label"] == right["label"]
            assert left["probability"] == pytest.approx(right["probability"], abs=1e-5)


def test_images_of_another_size_are_resized(exported: Path, tmp_path: Path) -> None:
    bright = np.full((40, 64, 3), 250, dtype=np.uint8)
    Image.fromarray(bright).save(tmp_path / "big.png")
    Image.fromarray(bright[:8, :8]).save(tmp_path / "small.png")
    document = predict(
        Predictor(str(exported)), [tmp_path / "big.png", tmp_path / "small.png"], top=1
    )
    big, small = (row["top"] for row in document["images"])
    assert big[0]["label"] == small[0]["label"]
    assert big[0]["probability"] == pytest.approx(small[0]["probability"], rel=1e-4)
    assert (
        text(document).splitlines()[0].startswith(f"{tmp_path / 'big.png'}: {big[0]['label']} 0.")
    )


def test_more_classes_than_there_are_is_all(exported: Path, pictures: list[Path]) -> None:
    (row,) = predict(Predictor(str(exported)), pictures[:1], top=50)["images"]
    assert sum(one["probability"] for one in row["top"]) == pytest.approx(1)
    assert len(row["top"]) == 2


def test_a_folder_without_weights_or_classes_is_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    winner = find(exported).winner
    export(dataclasses.replace(winner, weights=None), tmp_path / "bare")
    export(dataclasses.replace(winner, preprocessing=None, by_class=()), tmp_path / "raw")
    for source, message in (
        (str(tmp_path / "bare"), "has no weights"),
        (str(tmp_path / "raw"), "no preprocessing and classes"),
        ("efficientnet_b0", "has no weights"),
    ):
        with pytest.raises(NasError, match=message) as caught:
            Predictor(source)
        assert caught.value.exit_code == 2


def test_scores_that_are_not_finite_are_told(
    exported: Path, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    winner = find(exported).winner
    assert winner.weights is not None
    huge = {
        name: torch.full_like(value, 3e38) if name.endswith("linear.weight") else value
        for name, value in winner.weights.items()
    }
    export(dataclasses.replace(winner, weights=huge), tmp_path / "huge")
    with pytest.raises(NasError, match="scores that are not finite"):
        predict(Predictor(str(tmp_path / "huge")), pictures, top=1)


# The command -------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    cli.run(["predict", *map(str, arguments)])
    return capsys.readouterr().out


def test_the_command_prints_a_line_or_a_document(
    exported: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(capsys, exported, *pictures).splitlines()
    document = json.loads(run(capsys, exported, *pictures, "--top", 2, "--json"))
    assert set(document) == {"images"}
    for path, line, row in zip(pictures, lines, document["images"], strict=True):
        assert row["file"] == str(path)
        assert set(row) == {"file", "top"}
        best = row["top"][0]
        assert line == f"{path}: {best['label']} {best['probability']:.4f}"


def test_a_damaged_file_among_good_ones_is_named_and_nothing_is_printed(
    exported: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pictures[3].write_bytes(pictures[3].read_bytes()[:40])
    with pytest.raises(NasError, match=r"3\.png: cannot be read"):
        run(capsys, exported, *pictures)
    assert capsys.readouterr().out == ""


def test_of_a_folder_its_files_are_to_be_named(
    exported: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NasError, match=r"is a folder; name its files, such as .*/\*\.png"):
        run(capsys, exported, pictures[0].parent)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--class", "0"], "--class has a meaning with --map only"),
        (["--map", "heat.jpg"], "must be a file that ends in .png, got heat.jpg"),
        (["--map", "heat.png"], "nas export --fully-convolutional"),
        (["--top", "0"], "--top"),
    ],
)
def test_wrong_flags_are_refused(
    exported: Path,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    with pytest.raises(NasError, match=message) as caught:
        run(capsys, exported, pictures[0], *flags)
    assert caught.value.exit_code == 2
