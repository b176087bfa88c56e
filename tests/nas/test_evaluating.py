"""``nas evaluate``: figures of an exported network on labelled images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas import cli
from nas.errors import NasError
from nas.evaluating import evaluate, text


def test_the_figures_on_the_test_split_are_those_of_the_search(
    finished: Any, exported: Path, images: tuple[np.ndarray, np.ndarray]
) -> None:
    found = evaluate(exported, data=images)
    assert found["metrics"] == pytest.approx(dict(finished.result.test))
    assert found == {**evaluate(finished.result.folder, data=images), "source": str(exported)}
    assert found["images"] == sum(map(sum, found["confusion"]))
    assert [row["class"] for row in found["classes"]] == ["0", "1"]
    right = sum(found["confusion"][place][place] for place in range(2))
    assert right / found["images"] == pytest.approx(found["metrics"]["accuracy"])
    assert 0 <= found["calibration_error"] <= 1


def test_all_splits_together_are_all_images(
    exported: Path, images: tuple[np.ndarray, np.ndarray]
) -> None:
    counts = {
        split: evaluate(exported, data=images, split=split)["images"]
        for split in ("train", "validation", "test", "all")
    }
    assert counts.pop("all") == sum(counts.values()) == 80


def folder_of(path: Path, images: tuple[np.ndarray, np.ndarray], names: dict[int, str]) -> Path:
    for place, (pixels, label) in enumerate(zip(*images, strict=True)):
        target = path / names[int(label)] / f"{place}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255).round().astype(np.uint8)).save(target)
    return path


def test_files_are_prepared_as_those_of_the_training_and_classes_go_by_name(
    exported: Path, images: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    straight = folder_of(tmp_path / "straight", images, {0: "0", 1: "1"})
    swapped = folder_of(tmp_path / "swapped", images, {0: "1", 1: "0"})
    whole = evaluate(exported, data=images, split="all")["metrics"]["accuracy"]
    # Pixels of files are rounded to 256 values.
    found = evaluate(exported, data=straight, split="all")["metrics"]["accuracy"]
    assert found == pytest.approx(whole, abs=0.02)
    other = evaluate(exported, data=swapped, split="all")["metrics"]["accuracy"]
    assert other == pytest.approx(1 - found)


@pytest.mark.parametrize(
    "layout", ["classes", "test alone", "one class", "one image", "archive", "archive of one class"]
)
def test_all_images_of_a_path_may_be_few_and_without_training_images(
    exported: Path, images: tuple[np.ndarray, np.ndarray], tmp_path: Path, layout: str
) -> None:
    pixels, labels = images
    few = np.concatenate([np.flatnonzero(labels == label)[:3] for label in (0, 1)])
    chosen, expected = (pixels[few], labels[few]), 6
    if layout == "classes":
        path = folder_of(tmp_path / "few", chosen, {0: "0", 1: "1"})
    elif layout == "test alone":
        path = folder_of(tmp_path / "few" / "test", chosen, {0: "0", 1: "1"}).parent
    elif layout == "one class":
        path, expected = (
            folder_of(tmp_path / "few", (pixels[few[3:]], labels[few[3:]]), {1: "1"}),
            3,
        )
    elif layout == "one image":
        path, expected = (
            folder_of(tmp_path / "few", (pixels[few[:1]], labels[few[:1]]), {0: "0"}),
            1,
        )
    else:
        path = tmp_path / "few.npz"
        last = slice(3, 6) if "one class" in layout else slice(6)
        np.savez(path, x=chosen[0][last], y=chosen[1][last])
        expected = 3 if "one class" in layout else 6
    found = evaluate(exported, data=path, split="all")
    assert found["images"] == expected
    whole = evaluate(exported, data=images, split="all")
    assert [row["class"] for row in found["classes"]] == [row["class"] for row in whole["classes"]]


def test_a_folder_without_training_images_says_how_it_is_scored(
    exported: Path, images: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    path = folder_of(tmp_path / "few" / "test", images, {0: "0", 1: "1"}).parent
    with pytest.raises(NasError, match="got none in train; nas evaluate --split all alone does"):
        evaluate(exported, data=path)


def test_the_command_prints_a_table_or_json(
    exported: Path,
    images: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = folder_of(tmp_path / "data", images, {0: "0", 1: "1"})
    command = ["evaluate", str(exported), "--data", str(folder), "--split", "all"]
    cli.run([*command, "--json"])
    document = json.loads(capsys.readouterr().out)
    cli.run(command)
    assert capsys.readouterr().out == text(document) + "\n"
    assert "80 images of data, all" in text(document)


def test_what_does_not_fit_is_refused(
    exported: Path, images: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    strange = folder_of(tmp_path / "strange", images, {0: "0", 1: "cat"})
    colours = np.repeat(images[0][..., np.newaxis], 2, axis=3), images[1]
    for options, message in (
        ({"data": strange}, "class 'cat' must be one of the network's: 0, 1"),
        ({"data": colours}, "must have 1 or 3 channels, got 2"),
        ({"data": images, "split": "all of it"}, "--split must be one of"),
    ):
        with pytest.raises(NasError, match=message) as caught:
            evaluate(exported, **options)  # type: ignore[arg-type]
        assert caught.value.exit_code == 2
    with pytest.raises(NasError, match="has no weights"):
        evaluate("efficientnet_b0", data=images)
