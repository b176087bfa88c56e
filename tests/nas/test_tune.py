"""Our strategies and children inside Ray Tune."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from nas import status
from nas.configuration import Configuration
from nas.errors import NasError
from nas.journal import read_events
from nas.tune import tune_run
from search_spaces.space import SearchSpace

Data = tuple[np.ndarray, np.ndarray]


def configuration(mini: type[SearchSpace], images: Data, **changes: Any) -> Configuration:
    return Configuration(
        **{
            "space": mini,
            "data": images,
            "budget": 4,
            "strategy": "random",
            "device": "cpu",
            "settings": {"estimator": {"epochs": 2, "batch_size": 16}},
            **changes,
        }
    )


# Without Ray: what Tune would call -----------------------------------------------------------


def test_a_searcher_proposes_records_and_tells(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    with tune_run(tmp_path / "run", configuration(mini, images)) as run:
        searcher = run.searcher
        assert (searcher.metric, searcher.mode) == ("accuracy", "max")
        first, second = searcher.suggest("a"), searcher.suggest("b")
        assert isinstance(first, dict)
        assert isinstance(second, dict)
        assert set(first) == {"ordinal", "genotype", "fidelity", "seed"}
        scores = {"accuracy": 0.5}
        searcher.on_trial_result("a", {**scores, "fidelity": 0.5})
        searcher.on_trial_complete("a", {**scores, "fidelity": 1.0, "time_total_s": 3.0})
        searcher.on_trial_result("b", {**scores, "fidelity": 0.25})
        searcher.on_trial_complete("b", {**scores, "fidelity": 0.25})
        third = searcher.suggest("c")
        assert isinstance(third, dict)
        searcher.on_trial_complete("c", error=True)
    _, record = status.read(tmp_path / "run")
    states = {trial.ordinal: trial.state for trial in record.trials}
    assert states[first["ordinal"]] == "complete"
    assert states[second["ordinal"]] == "stopped"
    assert states[third["ordinal"]] == "failed"
    kinds = [event["event"] for event in read_events(tmp_path / "run" / "events.jsonl")]
    assert kinds.count("reported") == 2
    assert kinds.count("told") == len(record.trials)


def test_it_is_finished_when_the_budget_is_spent(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    with tune_run(tmp_path / "run", configuration(mini, images, budget=1)) as run:
        assert isinstance(run.searcher.suggest("a"), dict)
        assert run.searcher.suggest("b") is None
        run.searcher.on_trial_complete("a", {"accuracy": 0.5, "log_loss": 1.0, "fidelity": 1.0})
        assert run.searcher.suggest("b") == "FINISHED"


def test_a_space_or_metric_of_tunes_own_is_not_taken(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    with tune_run(tmp_path / "run", configuration(mini, images)) as run:
        searcher = run.searcher
        assert searcher.set_search_properties("accuracy", "max", {})
        assert searcher.set_search_properties(None, None, {})
        assert not searcher.set_search_properties("accuracy", "min", {})
        assert not searcher.set_search_properties("loss", "max", {})
        assert not searcher.set_search_properties("accuracy", "max", {"width": 3})
        with pytest.raises(NasError, match="go on with: nas resume"):
            searcher.restore("anywhere")


def test_steps_and_folders_are_checked(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    with (
        pytest.raises(NasError, match="steps must be at least 1, got 0"),
        tune_run(tmp_path / "run", configuration(mini, images), steps=0),
    ):
        pass
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with (
        pytest.raises(NasError, match="is not empty"),
        tune_run(tmp_path / "taken", configuration(mini, images)),
    ):
        pass


def test_an_estimator_with_a_training_of_its_own_is_refused(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    refused = configuration(mini, images, estimator="supernet")
    with (
        pytest.raises(NasError, match="without a training of its own in Ray Tune, got supernet"),
        tune_run(tmp_path / "run", refused),
    ):
        pass
    assert not (tmp_path / "run").exists()


# With Ray ------------------------------------------------------------------------------------


@pytest.mark.ray
@pytest.mark.filterwarnings("default")  # Tune's own
def test_an_experiment_of_tune_is_a_run_that_can_be_gone_on_with(
    mini: type[SearchSpace], images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray  # noqa: PLC0415 - takes a second
    from ray import cloudpickle, tune  # noqa: PLC0415
    from ray.tune.schedulers import ASHAScheduler  # noqa: PLC0415

    from nas.ray_session import RaySession  # noqa: PLC0415

    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    cloudpickle.register_pickle_by_value(sys.modules[mini.__module__])
    session = RaySession()
    session.start()
    try:
        with tune_run(tmp_path / "run", configuration(mini, images), steps=2) as run:
            tune.Tuner(
                tune.with_resources(run.trainable, {"cpu": 1}),
                tune_config=tune.TuneConfig(
                    search_alg=run.searcher,
                    scheduler=ASHAScheduler(metric="accuracy", mode="max", max_t=2),
                    num_samples=4,
                    max_concurrent_trials=2,
                ),
                run_config=tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0),
            ).fit()
    finally:
        session.close()
    assert not ray.is_initialized()
    found = status.document(tmp_path / "run")
    states = found["states"]
    assert found["state"] == "stopped"
    assert states.get("complete", 0) + states.get("stopped", 0) == 4
    assert states.get("complete", 0) >= 1
    result = nas.resume(tmp_path / "run", space=mini, data=images, workers=0)
    assert result.best.trial.state == "complete"
    assert status.document(tmp_path / "run")["state"] == "finished"
