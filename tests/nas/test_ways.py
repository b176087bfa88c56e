"""A run times how to train each family of blocks, once, and keeps to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from estimators.data import from_arrays
from estimators.task import Classification
from estimators.training import Training
from nas.audit.subjects import subject
from nas.children import Children
from nas.configuration import Configuration
from nas.errors import NasError
from nas.journal import read_events
from nas.limits import Limits
from nas.preparation import prepare
from nas.run_folder import read_record
from nas.ways import settled_ways
from search_spaces.families import shares
from search_spaces.graph import Graph
from search_spaces.mixed import MixedSpace
from search_spaces.strict_json import dumps, loads

IMAGES = tuple[np.ndarray, np.ndarray]
SPACE = MixedSpace((1, 8, 8), 2)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Graph]]:
    """Families that were timed and their networks; all trainings are long enough for it."""
    found: list[tuple[str, Graph]] = []

    def fastest_way(_: Training, graph: Graph, *, device: str) -> str:
        assert device == "cpu"
        family = next(iter(shares(graph)))
        found.append((family, graph))
        return "float32 contiguous" if family == "dense" else "float32 channels_last"

    monkeypatch.setattr(Training, "fastest_way", fastest_way)
    monkeypatch.setattr("estimators.training.TIMED_PIXELS", 0)
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    return found


def training(images: IMAGES) -> Training:
    made = Training(epochs=1)
    made.prepare(from_arrays(*images), Classification(2))
    return made


def settled(judge: Any, known: Any = None, device: str = "cpu") -> dict[str, str]:
    children = Children(SPACE, Limits())
    return settled_ways(judge, known, children=children, seed=0, device=device)


def test_one_network_of_each_family_is_timed(
    images: IMAGES, asked: list[tuple[str, Graph]]
) -> None:
    judge = training(images)
    ways = settled(judge)
    assert sorted(family for family, _ in asked) == sorted(ways)
    assert {"dense", "mbconv", "residual"} <= set(ways)
    assert judge.recipe["ways"] == "dense: float32 contiguous"
    assert settled(training(images)) == ways


def test_what_was_found_before_is_kept(images: IMAGES, asked: list[tuple[str, Graph]]) -> None:
    judge, known = training(images), {"mbconv": "bfloat16 channels_last"}
    assert settled(judge, known) == known
    assert judge.recipe["ways"] == "mbconv: bfloat16 channels_last"
    assert settled(training(images), {}) == {}
    with pytest.raises(NasError, match=r"derived\.ways: precision must be .* got 'odd'") as caught:
        settled(judge, {"mbconv": "odd"})
    assert caught.value.exit_code == 4
    assert not asked


def test_nothing_is_timed_where_it_says_nothing(
    images: IMAGES, asked: list[tuple[str, Graph]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settled(object()) == {}
    assert settled(training(images), device="mps") == {}
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert settled(training(images), device="cuda") == {}
    monkeypatch.setattr("estimators.training.TIMED_PIXELS", 10**9)
    assert settled(training(images)) == {}
    assert not asked


@pytest.mark.parametrize(
    ("train", "precision"),
    [
        ({}, "bfloat16"),
        pytest.param({"precision": "float32"}, "float32", marks=pytest.mark.slow),
    ],
)
def test_the_winner_is_trained_as_its_family_or_as_was_said(
    images: IMAGES,
    asked: list[tuple[str, Graph]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    train: dict[str, str],
    precision: str,
) -> None:
    monkeypatch.setattr(Training, "fastest_way", lambda *_, **__: "bfloat16 channels_last")
    settings = {"estimator": {"epochs": 1}, "train": {"epochs": 1, **train}}
    nas.search(
        data=images,
        space="dense",
        budget=1,
        workers=0,
        settings=settings,
        out=tmp_path / "run",
        final_training="auto",
        references="off",
    )
    events = read_events(tmp_path / "run" / "events.jsonl")
    (final,) = [event for event in events if event["event"] == "final_training"]
    assert final["recipe"]["precision"] == precision
    assert not asked


def test_a_run_is_timed_once_and_goes_on_as_it_began(
    images: IMAGES, asked: list[tuple[str, Graph]], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"data": images, "workers": 0}
    folder = tmp_path / "run"
    settings = {"estimator": {"epochs": 1}}
    given = {"space": "dense", "strategy": "random", "settings": settings}
    nas.search(budget=1, out=folder, **given, **options)
    record = read_record(folder)
    assert record.derived.ways == {"dense": "float32 contiguous"}
    assert record.derived.estimator["ways"] == "dense: float32 contiguous"
    assert len(asked) == 1
    nas.resume(folder, budget=2, **options)
    assert (len(asked), read_record(folder)) == (1, record.model_copy(update={"budget": 1}))
    run = loads((folder / "run.json").read_bytes())
    del run["derived"]["ways"], run["derived"]["estimator"]["ways"]  # a run of before
    (folder / "run.json").write_text(dumps(run))
    nas.resume(folder, budget=3, **options)
    assert len(asked) == 1


@pytest.mark.usefixtures("asked")
def test_an_audit_trains_as_the_run_does(images: IMAGES) -> None:
    prepared = prepare(Configuration(space="dense", data=images, budget=1))
    assert subject("training@0.5", prepared).estimator.recipe == prepared.estimator.recipe
    fixed = subject('training:layout="channels_last"', prepared).estimator.recipe
    assert "ways" not in fixed
