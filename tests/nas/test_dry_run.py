"""What a search would cost, from one child."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimators.data import ImageData
from estimators.estimator import Estimator, Evaluation, EvaluationError
from estimators.full_training import FullTraining
from estimators.task import Task
from nas.cli import run
from nas.configuration import Configuration
from nas.dry_run import SAMPLES, dry_run, text
from nas.errors import NasError
from nas.rivals import rival
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace
from search_spaces.strict_json import loads

Data = tuple[np.ndarray, np.ndarray]


class Fails(Estimator):
    """Scores nothing."""

    def prepare(self, data: ImageData, task: Task) -> None:
        pass

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        return {}

    def evaluate(self, graph: Graph, **arguments: Any) -> Evaluation:
        raise EvaluationError("the loss became nan", cause="nan")


@pytest.fixture
def configuration(mini: type[SearchSpace], images: Data, cheap: type[Estimator]) -> dict[str, Any]:
    return {"space": mini, "data": images, "estimator": cheap, "budget": 10, "device": "cpu"}


def test_it_says_size_costs_and_expected_hours(
    configuration: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = dry_run(Configuration(**configuration), workers=4)
    assert (found["genotypes"], found["samples"], found["feasible_share"]) == ("12", SAMPLES, 1.0)
    costs = found["costs"]["params"]
    assert costs["smallest"] < costs["median"] < costs["largest"]
    assert found["trainings"] == 10 + 6
    hours = found["seconds_per_child"] * 16 / 4 / 3600
    assert found["expected_hours"] == pytest.approx(hours)
    assert list(tmp_path.iterdir()) == []
    shown = text(found)
    assert "Mini for arrays (1x8x8): 12 genotypes" in shown
    assert "100% of 200 samples are within the limits" in shown
    assert "16 trainings, 4 at a time on cpu" in shown


def test_the_final_training_is_one_long_job_after_the_others(
    configuration: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FullTraining, "seconds_per_pass", lambda self: 7.0)
    trained = {**configuration, "estimator": "training", "final_training": "auto"}
    trained["settings"] = {"estimator": {"epochs": 2, "batch_size": 16}}
    found = dry_run(Configuration(**trained, references="off"), workers=4)
    assert (found["final_training_epochs"], found["published_networks"]) == (20, 0)
    seconds = found["seconds_per_child"] * 16 / 4 + 20 * 7.0
    assert found["expected_hours"] == pytest.approx(seconds / 3600)
    assert "at a time on cpu, then 20 epochs of the winner" in text(found)


def test_published_networks_are_trained_too_and_the_best_as_long_as_the_winner(
    configuration: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FullTraining, "seconds_per_pass", lambda self: 7.0)
    small, large = rival("resnet20", (1, 8, 8), 2), rival("resnet18", (1, 8, 8), 2)
    families = {"A": [large, small], "B": [small], "C": [large]}
    monkeypatch.setattr("nas.dry_run.fitting", lambda *_: families)
    trained = {**configuration, "estimator": "training", "final_training": "auto"}
    trained["settings"] = {"estimator": {"epochs": 2, "batch_size": 16}}
    found = dry_run(Configuration(**trained), workers=4)
    assert (found["published_networks"], found["trainings"]) == (2, 10 + 6 + 2)
    seconds = found["seconds_per_child"] * (16 + 2) / 4 + 2 * 20 * 7.0
    assert found["expected_hours"] == pytest.approx(seconds / 3600)
    assert "then 20 epochs of the winner and of a published network" in text(found)
    paces = {small.graph.params: 21.0, large.graph.params: 35.0}
    monkeypatch.setattr(
        FullTraining, "seconds_per_pass", lambda self: paces.get(self._graph.params, 7.0)
    )
    named = dry_run(Configuration(**trained, references=("resnet20", "resnet18")), workers=4)
    seconds = named["seconds_per_child"] * (16 + 2 * 5) / 4 + (7.0 + 35.0) * 20
    assert named["expected_hours"] == pytest.approx(seconds / 3600)
    off = dry_run(Configuration(**trained, references="off"), workers=4)
    assert (off["published_networks"], off["trainings"]) == (0, 16)


def test_it_says_where_a_part_of_a_training_told_the_rest(
    configuration: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = {**configuration, "estimator": "training"}
    trained["settings"] = {"estimator": {"epochs": 60, "batch_size": 16}}
    monkeypatch.setattr("nas.calibration.LIMIT", 0.0)
    found = dry_run(Configuration(**trained), workers=1)
    assert 0 < found["calibration"]["share_trained"] < 1
    assert " s, by the pace of the first " in text(found)


def test_limits_lower_the_share_and_the_costs(configuration: dict[str, Any]) -> None:
    whole = dry_run(Configuration(**configuration), workers="auto")
    limit = whole["costs"]["params"]["median"]
    some = dry_run(Configuration(**configuration, max_params=limit), workers="auto")
    assert 0.3 < some["feasible_share"] < 0.9
    assert some["costs"]["params"]["largest"] == limit
    assert some["calibration"]["params"] <= limit


def test_latency_is_measured_where_it_is_limited(configuration: dict[str, Any]) -> None:
    assert dry_run(Configuration(**configuration), workers=1)["calibration"]["latency_ms"] is None
    limited = Configuration(**configuration, max_latency_ms=1000)
    assert dry_run(limited, workers=1)["calibration"]["latency_ms"] > 0


def test_a_child_that_fails_is_told_in_one_line(configuration: dict[str, Any]) -> None:
    with pytest.raises(NasError, match="the child failed: nan: the loss became nan") as caught:
        dry_run(Configuration(**{**configuration, "estimator": Fails}), workers=1)
    assert caught.value.exit_code == 3


def test_the_command_prints_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "search --dry-run --max-params 20k --set estimator.epochs=1 --device cpu"
    run([*line.split(), "--json"])
    document = loads(capsys.readouterr().out)
    assert document["space"] == "mbconv"
    assert document["calibration"]["params"] <= 20_000
    run([*line.split(), "--workers", "2"])
    assert "2 at a time on cpu" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
