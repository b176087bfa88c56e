"""Data from a path, from the search to the exported network and the resumed run."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nas
from estimators import published
from estimators.sources import read_path
from nas.cli import run
from nas.datasets import is_path, options, recorded
from nas.errors import NasError
from nas.predicting import Predictor
from nas.run_folder import read_record
from search_spaces.space import SearchSpace


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of colour images of mixed sizes, one with a hostile name."""
    rng = np.random.default_rng(0)
    for label in ("cat", "a\n\x1b[31m|<b>"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 256, (9 + number, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


def test_a_run_on_a_folder_predicts_as_in_memory_and_resumes_by_itself(
    photos: Path, mini: type[SearchSpace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"estimator": {"epochs": 1, "batch_size": 4}}
    wanted = {"space": mini, "budget": 1, "workers": 0, "settings": small, "image_size": "10x8"}
    result = nas.search(data="photos", out="run", **wanted)
    record = read_record(tmp_path / "run")
    assert record.data == str(photos)
    assert record.data_options == options("10x8", None)
    assert record.input_shape == (3, 10, 8)
    data = read_path(photos, image_size=(10, 8))
    predictor = Predictor("run")
    with torch.inference_mode():
        expected = torch.softmax(result.model(data.train.images).double(), dim=1).numpy()
    found = [predictor.probabilities(predictor.read(path)) for path in photos.glob("*/*.png")]
    for row in expected:
        assert min(np.abs(one - row).max() for one in found) < 1e-6
    monkeypatch.chdir("/")
    assert len(nas.resume(tmp_path / "run", space=mini, budget=2, workers=0).trials) == 2
    photos.rename(tmp_path / "moved")
    again = {"space": mini, "budget": 3, "workers": 0}
    with pytest.raises(NasError, match="photos: is not there"):
        nas.resume(tmp_path / "run", **again)
    (tmp_path / "moved" / "cat" / "0.png").unlink()
    with pytest.raises(NasError, match="data_fingerprint is") as caught:
        nas.resume(tmp_path / "run", **again, data=tmp_path / "moved")
    assert caught.value.exit_code == 4


def test_a_refusal_is_one_line_and_starts_nothing(
    photos: Path, mini: type[SearchSpace], tmp_path: Path
) -> None:
    (photos / "a\n\x1b[31m|<b>" / "0.png").write_bytes(b"")
    with pytest.raises(NasError, match=r"^data: .*a\\n\\x1b") as caught:
        nas.search(data=photos, space=mini, budget=1, workers=0, out=tmp_path / "run")
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()
    assert not (tmp_path / "run").exists()


def test_a_path_that_cannot_be_written_down_is_refused() -> None:
    with pytest.raises(NasError, match="--data: path must be UTF-8") as caught:
        recorded(Path("/caf\udce9.npz"))
    assert caught.value.exit_code == 2


def test_a_name_of_a_thousand_letters_is_no_path() -> None:
    assert not is_path("x" * 1000)


def test_a_name_is_a_name_and_all_else_that_is_there_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    (tmp_path / "photos").mkdir()
    assert not is_path("digits")
    assert not is_path("digit")
    assert is_path("photos")
    assert is_path("missing.npz")
    assert is_path("./digits")
    assert is_path(Path("digits"))


@pytest.mark.parametrize("size", ["", "0", "8x", "axb", "-3", "8x0", "8x8x8", "99999"])
def test_a_size_is_a_number_or_two(size: str) -> None:
    assert options("12", None).image_size == (12, 12)
    assert options("12x5", None).image_size == (12, 5)
    with pytest.raises(NasError, match="--image-size must be HEIGHTxWIDTH or N"):
        options(size, None)


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny MNIST, which is the published one."""
    (tmp_path / "mnist").mkdir()
    digests = {}
    for name in published.MNIST.files:
        count, sides = 80 if name.startswith("train") else 20, (8, 8) * ("images" in name)
        values = np.resize(np.arange(10, dtype=np.uint8), (count, *sides))
        lengths = b"".join(side.to_bytes(4, "big") for side in values.shape)
        content = bytes((0, 0, 8, values.ndim)) + lengths + values.tobytes()
        (tmp_path / "mnist" / name).write_bytes(content)
        digests[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(published, "MNIST", replace(published.MNIST, files=digests))
    monkeypatch.setattr(published, "SYSTEM", tmp_path / "system")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "mnist"


@pytest.mark.slow
def test_a_run_on_published_data_goes_on_where_they_lie_now(
    mnist: Path, mini: type[SearchSpace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"estimator": {"epochs": 1, "batch_size": 8}}
    wanted = {"space": mini, "budget": 1, "workers": 0, "settings": small}
    nas.search(data="mnist", data_dir="mnist", out="run", strategy="evolution", **wanted)
    record = read_record(tmp_path / "run")
    assert (record.data, record.data_options.data_dir) == ("mnist", str(mnist))
    assert '"download"' not in (tmp_path / "run" / "run.json").read_text()
    monkeypatch.chdir("/")
    assert len(nas.resume(tmp_path / "run", space=mini, budget=2, workers=0).trials) == 2
    moved = mnist.rename(tmp_path / "moved")
    again = {"space": mini, "budget": 3, "workers": 0}
    with pytest.raises(NasError, match="data: mnist: train-images-idx3-ubyte") as caught:
        nas.resume(tmp_path / "run", **again)
    assert caught.value.exit_code == 2
    assert len(nas.resume(tmp_path / "run", **again, data_dir=moved).trials) == 3


@pytest.mark.slow
def test_a_run_on_samples_of_python_goes_on_when_handed_them(
    mini: type[SearchSpace], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    samples = [
        (Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)), number % 2)
        for number in range(30)
    ]
    small = {"estimator": {"epochs": 1, "batch_size": 8}}
    wanted = {"space": mini, "budget": 1, "workers": 0, "settings": small}
    result = nas.search(data=samples, image_size="8", out=tmp_path / "run", **wanted)
    assert Predictor(tmp_path / "run").preprocessing.size == (8, 8)
    assert result.model(torch.zeros(1, 3, 8, 8)).shape == (1, 2)
    record = read_record(tmp_path / "run")
    assert (record.data, record.input_shape) == ("samples", (3, 8, 8))
    again = {"space": mini, "budget": 2, "workers": 0}
    with pytest.raises(NasError, match=r"hand it over in Python: nas.resume\(folder, data="):
        nas.resume(tmp_path / "run", **again)
    assert len(nas.resume(tmp_path / "run", data=samples, **again).trials) == 2
    with pytest.raises(NasError, match="data_fingerprint is"):
        nas.resume(tmp_path / "run", data=samples[::-1], **again)


def test_a_dry_run_reads_published_data(mnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "search --data mnist --dry-run --set estimator.epochs=1 --device cpu --data-dir"
    run([*line.split(), str(mnist)])
    assert "train 68, validation 12, test 20; 10 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "digits", "data_dir": "x"}, "--data-dir: digits are no files"),
        ({"data": "digits", "download": True}, "--download: digits are no files"),
        ({"data": "mnist", "image_size": "8"}, "--image-size and --group need --data with a path"),
        ({"data": [(1, 2)] * 3, "group": "x"}, "--group needs --data with a CSV file"),
        ({"data": ([], []), "image_size": "8"}, "--image-size needs --data with a path, or samp"),
        ({"data": ([], [], [])}, "data must be the name of a data set, a path, .images, labels"),
        ({"data": [(1, 2)] * 3}, "data: sample 0: image must be Pillow's, a tensor or an array"),
        ({"data": Path(), "data_dir": "x"}, "--data-dir and --download need --data with the name"),
        ({"data": "mnist", "data_dir": "/caf\udce9"}, "--data-dir: path must be UTF-8"),
        ({"data": "mnist", "data_dir": "/nowhere"}, "fetch it with --download, or name its folder"),
    ],
)
def test_options_of_other_data_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(NasError, match=message) as caught:
        nas.search(**options, budget=1, workers=0)
    assert caught.value.exit_code == 2
