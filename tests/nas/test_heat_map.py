"""Where in an image a class is seen."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from estimators.data import digits, from_arrays
from estimators.task import Classification
from estimators.training import Training
from nas import heat_map, predicting
from nas.cli import run
from nas.errors import NasError
from nas.export import Preprocessing, Winner, export
from nas.predicting import Predictor, ScoreMap
from nas.sliding import slide
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.graph import Graph
from search_spaces.modules import build


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the fresh process, which takes seconds."""
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)


def small(classes: int) -> Graph:
    stages = ((ConvNormAct(16, stride=2), ConvNormAct(32)),)
    head = Classifier(classes, width=32)
    return lower(Architecture("Net", (1, 8, 8), ConvNormAct(16), stages, head))


@pytest.fixture
def bright(tmp_path: Path) -> Path:
    """A network by hand that sees brightness: the mean of a window is its score."""
    graph = lower(
        Architecture("Net", (1, 8, 8), ConvNormAct(1, 1), ((ConvNormAct(1, 1, 2),),), Classifier(2))
    )
    weights = {name: torch.ones_like(value) for name, value in build(graph).state_dict().items()}
    weights["stem.norm.bias"].zero_()
    weights["stages.0.0.norm.bias"].zero_()
    weights |= {name: torch.zeros_like(v) for name, v in weights.items() if "running_mean" in name}
    weights["head.linear.weight"] = torch.tensor([[0.0], [20.0]])
    weights["head.linear.bias"] = torch.tensor([0.0, -10.0])
    preprocessing = Preprocessing(("dark", "bright"), (0.0,), (1.0,))
    winner = Winner(graph, weights=weights, preprocessing=preprocessing)
    export(slide(winner), tmp_path / "bright")
    return tmp_path / "bright"


def picture(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray((255 * pixels).round().astype(np.uint8)).save(path)
    return path


def asked(capsys: pytest.CaptureFixture[str], *arguments: Any) -> dict[str, Any]:
    run(["predict", *map(str, arguments), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["images"][0]
    return found


def test_the_highest_place_lies_in_the_middle_of_what_was_planted(
    bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canvas = np.zeros((40, 56))
    canvas[22:30, 12:20] = 1
    path = picture(tmp_path / "canvas.png", canvas)
    out = tmp_path / "heat.png"
    found = asked(capsys, bright, path, "--map", out, "--class", "bright")
    assert found["map"]["shape"] == [17, 25]  # (40 - 8) / 2 + 1, (56 - 8) / 2 + 1
    assert (found["map"]["window"], found["map"]["stride"]) == ([8, 8], [2, 2])
    assert found["map"]["maximum"]["x"] == 16
    assert found["map"]["maximum"]["y"] == 26
    assert found["map"]["maximum"]["probability"] == pytest.approx(1 / (1 + np.exp(-10)), rel=1e-3)
    heat = np.asarray(Image.open(out)).astype(float)
    assert heat.shape == (40, 56, 3)
    rows, columns = np.nonzero(heat.sum(axis=2) == heat.sum(axis=2).max())
    assert 22 <= rows.mean() < 30
    assert 12 <= columns.mean() < 20
    assert heat[0, 0].max() < 30  # cold and dark far from it
    default = asked(capsys, bright, path, "--map", tmp_path / "again.png")
    assert default["map"]["label"] == default["top"][0]["label"] == "dark"


def test_heat_is_painted_over_the_middle_of_its_window() -> None:
    probabilities = np.zeros((5, 7))
    probabilities[1, 4] = 1
    pixels = np.zeros((1, 24, 32), dtype=np.float32)
    found = ScoreMap("a", probabilities, (8, 8), (4, 4), (20, 8), pixels)
    heat = np.asarray(Image.open(io.BytesIO(heat_map.painted(found)))).astype(float).sum(axis=2)
    rows, columns = np.nonzero(heat == heat.max())
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == (8, 20)  # y and x of the window's middle
    assert heat[:3].max() == heat[14:].max() == heat[:, 25:].max() == 0


def test_an_image_of_the_training_size_has_one_place(
    bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = picture(tmp_path / "one.png", np.full((8, 8), 0.75))
    found = asked(capsys, bright, path, "--map", tmp_path / "heat.png", "--class", "bright")
    assert found["map"]["shape"] == [1, 1]
    assert found["map"]["maximum"]["probability"] == pytest.approx(
        found["top"][0]["probability"], rel=1e-6
    )
    assert (found["map"]["maximum"]["x"], found["map"]["maximum"]["y"]) == (4, 4)


def test_what_does_not_fit_is_refused_and_writes_nothing(
    bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(str(bright))
    good = picture(tmp_path / "good.png", np.zeros((9, 9)))
    flat = picture(tmp_path / "flat.png", np.zeros((7, 90)))
    out = tmp_path / "heat.png"
    before = sorted(tmp_path.iterdir())
    for path, images, label, message in (
        (out, [flat], None, "from 8x8 .height and width. to .* pixels in all, got 7x90"),
        (out, [good, good], None, "exactly one image, got 2"),
        (out, [good], "brigth", "did you mean bright"),
        (good, [good], None, "is there already"),
        (tmp_path / "no" / "where" / "a.png", [good], None, "cannot write"),
    ):
        with pytest.raises(NasError, match=message):
            heat_map.write(path, predictor, images, label=label)
    monkeypatch.setattr(predicting, "MAX_MAP_PIXELS", 80)
    with pytest.raises(NasError, match="to 80 pixels in all, got 9x9"):
        heat_map.write(out, predictor, [good], label=None)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_a_planted_digit_is_found_on_a_large_canvas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network for digits and background, trained for seconds, finds nine of ten digits.

    The digits are of the test split. A place drawn at random lies on one with a probability of
    0.7 % (64 of 96 x 96 pixels), so nine of ten by chance have one below 1e-18.
    """
    rng = np.random.default_rng(0)
    data = digits()
    split = data.train
    pixels = split.images[:, 0].numpy() * data.std[0] + data.mean[0]
    shown = [*pixels.clip(0, 1)]
    labels = [int(label) for label in split.labels]
    for _ in range(1200):  # background: noise, and digits that are beside the window
        canvas = rng.uniform(0, 0.3, (24, 24))
        if rng.random() < 0.7:
            canvas[8:16, 8:16] = shown[int(rng.integers(len(pixels)))]
        down, across = rng.choice([*range(5), *range(12, 17)], 2)
        shown.append(canvas[down : down + 8, across : across + 8].clip(0, 1))
        labels.append(10)
    arrays = from_arrays(
        np.asarray(shown, dtype=np.float32),
        np.asarray(labels),
        classes=[*map(str, range(10)), "background"],
    )
    training = Training(epochs=12)
    training.prepare(arrays, Classification(11))
    graph = small(11)
    evaluation = training.evaluate(graph, fidelity=1.0, seed=0, device="cpu")
    assert evaluation.weights is not None
    preprocessing = Preprocessing(arrays.classes, arrays.mean, arrays.std)
    winner = Winner(graph, weights=evaluation.weights, preprocessing=preprocessing)
    export(slide(winner), tmp_path / "sliding")
    hits = 0
    for digit in range(10):
        place = int(np.flatnonzero(data.test.labels.numpy() == digit)[0])
        one = (data.test.images[place, 0].numpy() * data.std[0] + data.mean[0]).clip(0, 1)
        canvas = rng.uniform(0, 0.3, (96, 96))
        top, left = (int(side) for side in rng.integers(0, 89, 2))
        canvas[top : top + 8, left : left + 8] = one
        path = picture(tmp_path / f"{digit}.png", canvas)
        out = tmp_path / f"map{digit}.png"
        found = asked(capsys, tmp_path / "sliding", path, "--map", out, "--class", digit)
        at = found["map"]["maximum"]
        hits += top <= at["y"] < top + 8 and left <= at["x"] < left + 8
    assert hits >= 9
