"""A run guided by a score that is no result: its finalists are trained, and they decide."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from nas.configuration import Configuration
from nas.dry_run import dry_run
from nas.errors import NasError
from nas.journal import read_events
from nas.limits import Objective
from nas.preparation import prepare
from nas.run_folder import read_record
from nas.status import document as status_of
from search_spaces.space import SearchSpace
from search_spaces.strict_json import loads

Data = tuple[np.ndarray, np.ndarray]

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the fresh process of the export, which takes seconds."""
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)


def options(mini: type[SearchSpace], images: Data, score: str = "params") -> dict[str, Any]:
    return {
        "space": mini,
        "data": images,
        "strategy": "random",
        "estimator": "proxy",
        "budget": 4,
        "workers": 0,
        "settings": {"estimator": {"score": score, "batch_size": 8}},
    }


def test_the_score_guides_and_trained_finalists_decide(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    result = nas.search(out=tmp_path / "run", **options(mini, images))
    guide = {trial.ordinal: trial.metrics for trial in result.trials if trial.state == "complete"}
    assert all(set(metrics) == {"score"} for metrics in guide.values())
    assert [one.metric for one in result.finalists] == ["accuracy"] * 3
    assert {one.trial.ordinal for one in result.finalists} == set(
        sorted(guide, key=lambda ordinal: -guide[ordinal]["score"])[:3]
    )
    assert result.best.mean == max(one.mean for one in result.finalists)
    assert result.best.mean <= 1 < result.best.trial.metrics["score"]
    assert set(result.test) >= {"accuracy", "log_loss"}
    assert result.best.weights is not None


def test_what_a_run_says_never_calls_the_score_a_result(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    result = nas.search(out=tmp_path / "run", **options(mini, images))
    summary = loads((tmp_path / "run" / "summary.json").read_bytes())
    assert isinstance(summary, dict)
    best = summary["best"]
    assert summary["objective"] == status_of(tmp_path / "run")["objective"] == "accuracy"
    assert best["search_metric"] == "score"
    assert best["search_score"] == result.best.trial.metrics["score"]
    assert best["score"] == result.best.mean
    card = (tmp_path / "run" / "best" / "README.md").read_text()
    assert "| Search score of the estimator proxy |" in card
    assert "| Validation accuracy |" in card
    assert "estimator training" in card


def test_nothing_is_done_again_and_the_objective_asked_for_stays(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    given = {**options(mini, images), "objective": "log_loss"}
    first = nas.search(out=tmp_path / "run", **given)
    run = read_record(tmp_path / "run")
    assert (run.objective, run.direction, run.verdict) == ("score", "maximize", "log_loss")
    assert first.best.mean == min(one.mean for one in first.finalists)
    before = len(list(read_events(tmp_path / "run" / "events.jsonl")))
    again = nas.resume(tmp_path / "run", space=mini, data=images, workers=0)
    assert len(list(read_events(tmp_path / "run" / "events.jsonl"))) == before
    assert again.best.scores == first.best.scores
    more = nas.resume(tmp_path / "run", space=mini, data=images, workers=0, budget=6)
    assert len([trial for trial in more.trials if trial.state == "complete"]) == 6


def test_networks_to_rank_among_are_within_the_limits_and_of_the_seed(
    mini: type[SearchSpace], images: Data
) -> None:
    def recipe(seed: int, most: int | None = None) -> object:
        configuration = Configuration(
            **{name: value for name, value in given.items() if name != "workers"},
            seed=seed,
            max_params=most,
        )
        prepared = prepare(configuration)
        graphs = prepared.estimator._sample  # type: ignore[attr-defined]
        assert len(graphs) == 32
        assert most is None or all(graph.params <= most for graph in graphs)
        return prepared.run.derived.estimator["reference"]

    given = options(mini, images, "az_nas")
    assert recipe(1) == recipe(1)
    assert recipe(1) != recipe(2)
    assert recipe(1) != recipe(1, 300)


def test_a_plan_says_what_finalists_are_ranked_by(mini: type[SearchSpace], images: Data) -> None:
    given = {name: value for name, value in options(mini, images).items() if name != "workers"}
    plan = prepare(Configuration(**given)).plan
    assert plan.objective == Objective("score", "maximize")
    assert plan.verdict == Objective("accuracy", "maximize")
    trained = prepare(Configuration(**{**given, "estimator": "training", "settings": {}}))
    assert trained.plan.verdict == trained.plan.objective == plan.verdict
    assert trained.judge is trained.estimator


def test_a_dry_run_scores_one_child(mini: type[SearchSpace], images: Data) -> None:
    given = {name: value for name, value in options(mini, images).items() if name != "workers"}
    assert set(dry_run(Configuration(**given), workers=1)["calibration"]["metrics"]) == {"score"}


def test_the_score_is_no_objective_to_ask_for(mini: type[SearchSpace], images: Data) -> None:
    given = {**options(mini, images), "objective": "score"}
    with pytest.raises(NasError, match="--objective: there is no 'score'"):
        nas.search(**given)
