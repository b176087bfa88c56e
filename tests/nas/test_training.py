"""``nas train``: to the end whatever comes between, and one reading of the test images."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from safetensors.torch import load_file

import nas
from estimators.snapshot import Epoch
from nas import folder_status, training
from nas.curve_picture import confusion_picture, curve_picture
from nas.errors import NasError
from nas.export import Winner, export
from nas.journal import read_events
from nas.lock import RunLock
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct

Data = tuple[Any, Any]


@pytest.fixture(scope="module")
def images() -> Data:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    pixels = rng.random((60, 8, 8)) / 2
    pixels[labels == 1, :, :4] += 0.4
    return pixels.astype(np.float32), labels


@pytest.fixture(scope="module", autouse=True)
def _no_fresh_process() -> Iterator[None]:
    """Tests of the export have it; here it would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
        yield


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network") / "net"
    stages = ((ConvNormAct(6, 3),),)
    architecture = Architecture("Net", (1, 8, 8), ConvNormAct(4, stride=2), stages, Classifier(2))
    export(Winner(lower(architecture)), folder)
    return folder


def train(network: Path, images: Data, out: Path, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"epochs": 3, "device": "cpu", "settings": {"batch_size": 16}}
    return nas.train(network, data=images, out=out, **{**arguments, **changes})


def reads(folder: Path) -> int:
    return sum(event["event"] == "test_read" for event in read_events(folder / "events.jsonl"))


@pytest.fixture(scope="module")
def finished(network: Path, images: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "out"
    train(network, images, folder)
    return folder


def test_a_folder_holds_network_figures_curve_and_pictures(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["epochs"] == 3
    assert summary["test_reads"] == 1
    assert sum(map(sum, summary["test"]["confusion"])) == summary["test"]["images"]
    assert 0 <= summary["test"]["calibration_error"] <= 1
    assert [one["class"] for one in summary["test"]["classes"]] == ["0", "1"]
    lines = [json.loads(line) for line in (finished / "curve.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert summary["validation"] == lines[-1]["validation"]
    card = (finished / "best" / "README.md").read_text()
    assert "read once" in card
    assert "Calibration error" in card
    for name in ("curve.svg", "confusion.svg"):
        ET.parse(finished / name)  # noqa: S314 - our own
    assert not (finished / "checkpoint.safetensors").exists()


def test_a_finished_folder_answers_without_reading_test_images_again(
    finished: Path, network: Path, images: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "scored", None)
    monkeypatch.setattr(training, "FullTraining", None)
    again = train(network, images, finished)
    assert again == json.loads((finished / "summary.json").read_text())
    assert reads(finished) == 1


def test_the_status_of_a_finished_training_has_its_figures(finished: Path) -> None:
    found = folder_status.document(finished)
    assert found is not None
    summary = json.loads((finished / "summary.json").read_text())
    assert (found["kind"], found["state"], found["done"]) == ("training", "finished", 3)
    assert found["test"] == summary["test"]["metrics"]
    text = folder_status.text(found)
    assert "a training, finished, 3 of 3 epochs" in text
    assert f"test images: accuracy {found['test']['accuracy']:.4f}" in text


def test_the_status_of_a_killed_or_running_training_says_how_far_it_is(
    network: Path, images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_test", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(network, images, tmp_path)
    found = folder_status.document(tmp_path)
    assert found is not None
    assert (found["state"], found["done"], found["epochs"]) == ("stopped", 3, 3)
    assert "the command that began it goes on with it" in folder_status.text(found)
    with RunLock(tmp_path):
        running = folder_status.document(tmp_path)
    assert running is not None
    assert (running["state"], running["validation"]) == ("running", found["validation"])
    (tmp_path / "checkpoint.safetensors").write_bytes(b"nothing")
    broken = folder_status.document(tmp_path)
    assert broken is not None
    assert broken["done"] == 0


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_member_of_a_front_is_trained_by_its_number(
    network: Path, images: Data, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for ordinal in (1, 4):
        shutil.copytree(network, run / "front" / f"trial-{ordinal}")
    (run / "run.json").write_text("{}")
    with pytest.raises(NasError, match="choose one by --trial \\(1, 4\\)"):
        train(run, images, tmp_path / "out")
    summary = train(run, images, tmp_path / "out", epochs=1, trial=4)
    assert summary["network"] == f"{run}, trial 4"


def test_a_training_that_was_killed_goes_on_with_the_same_result(
    finished: Path,
    network: Path,
    images: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, written = training.write_bytes, list[Path]()

    def dies(path: Path, data: bytes) -> None:
        write(path, data)
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "write_bytes", dies)
        with pytest.raises(KeyboardInterrupt):
            train(network, images, tmp_path / "out")
    assert not (tmp_path / "out" / "summary.json").exists()
    summary = train(network, images, tmp_path / "out")
    assert summary == json.loads((finished / "summary.json").read_text())
    assert (tmp_path / "out" / "curve.jsonl").read_text() == (finished / "curve.jsonl").read_text()
    here, there = (
        load_file(folder / "best" / "model.safetensors") for folder in (tmp_path / "out", finished)
    )
    assert all(bool((here[name] == there[name]).all()) for name in there)


def test_a_reading_that_was_lost_is_counted(
    network: Path, images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "scored", dies)
        with pytest.raises(KeyboardInterrupt):
            train(network, images, tmp_path / "out", epochs=1)
    summary = train(network, images, tmp_path / "out", epochs=1)
    assert summary["test_reads"] == reads(tmp_path / "out") == 2
    assert "read 2 times" in (tmp_path / "out" / "best" / "README.md").read_text()


def test_a_reading_is_not_repeated_where_the_export_failed(
    network: Path, images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "export", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(network, images, tmp_path / "out", epochs=1)
    assert not (tmp_path / "out" / "summary.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(training, "scored", None)
        summary = train(network, images, tmp_path / "out", epochs=1)
    assert summary["test_reads"] == reads(tmp_path / "out") == 1
    assert (tmp_path / "out" / "best" / "model.safetensors").exists()


def test_a_folder_with_another_training_is_refused(
    finished: Path, network: Path, images: Data
) -> None:
    with pytest.raises(NasError, match=r"holds another training \(seed differ\)") as caught:
        train(network, images, finished, seed=1)
    assert caught.value.exit_code == 4


def test_a_folder_with_something_else_is_refused(
    network: Path, images: Data, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(NasError, match=r"is not empty, it holds letter\.txt") as caught:
        train(network, images, tmp_path)
    assert caught.value.exit_code == 4


def test_a_damaged_checkpoint_is_told(
    network: Path, images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_bytes", lambda path, data: path.write_bytes(data[:40]))
        patch.setattr(training.FullTraining, "weights", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(network, images, tmp_path / "out", epochs=1)
    with pytest.raises(NasError, match=r"checkpoint is damaged.*; delete it to begin again"):
        train(network, images, tmp_path / "out", epochs=1)


def test_hours_become_epochs_that_are_written_down(
    network: Path, images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.FullTraining, "seconds_per_pass", lambda self: 10.0)
    clock = iter([0.0, 5.0, *([0.0] * 100)])
    monkeypatch.setattr(training.time, "monotonic", lambda: next(clock))
    summary = train(network, images, tmp_path / "out", epochs=None, max_hours=40 / 3600)
    assert summary["epochs"] == 3  # 40 seconds, less the 5 that the measurement took
    assert json.loads((tmp_path / "out" / "training.json").read_text())["recipe"]["epochs"] == 3


@pytest.mark.parametrize(("policy", "threads"), [("PASSIVE", 3), ("ACTIVE", 1)])
def test_all_cpus_train_where_they_wait_without_spinning_and_that_is_written_down(
    policy: str,
    threads: int,
    network: Path,
    images: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    monkeypatch.setattr(training, "cpus", lambda: 3)
    monkeypatch.setattr("estimators.full_recipe.THREADED", 0)
    monkeypatch.setattr(training.FullTraining, "weights", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(network, images, tmp_path / "out", epochs=1, settings={"batch_size": 64})
    recipe = json.loads((tmp_path / "out" / "training.json").read_text())["recipe"]
    assert recipe.get("threads", 1) == threads


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"flips": True}}, r"train\.flips: .* did you mean flip\?"),
        ({"settings": {"flip": "yes"}}, r"train\.flip must be true or false, got 'yes'"),
        ({"settings": {"optimizer": "adam"}}, r"optimizer must be adamw or sgd, got 'adam'"),
        ({"settings": {"epochs": 1}}, "--epochs and --set train.epochs are the same"),
        ({"seed": 2**64}, r"--seed must be at most 2\*\*53, got"),
        ({"epochs": 0}, "train: epochs must be from 1"),
        ({"max_hours": 1.0}, "--max-hours and a number of epochs exclude each other"),
        ({"max_hours": 0.0, "epochs": None}, "--max-hours must be above 0 and finite, got 0.0"),
        (
            {"max_hours": 1.0, "epochs": None, "settings": {"epochs": 5}},
            "--max-hours and a number of epochs exclude each other",
        ),
        ({"seed": -1}, "--seed must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    network: Path, images: Data, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(NasError, match=message) as caught:
        train(network, images, tmp_path / "out", **changes)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_network_for_other_data_is_refused(network: Path, images: Data, tmp_path: Path) -> None:
    pixels, _ = images
    with pytest.raises(NasError, match="the data have 1 channels and 3 classes"):
        train(network, (pixels, np.arange(60) % 3), tmp_path / "out")


def test_pictures_hold_for_one_epoch_and_hostile_names() -> None:
    line = Epoch(epoch=1, step=1, learning_rate=0.1, loss=0.0, validation={"accuracy": 1.0})
    ET.fromstring(curve_picture([line]))  # noqa: S314 - our own
    ET.fromstring(confusion_picture([[1, 0], [0, 0]], ["<&", "b"]))  # noqa: S314 - our own
