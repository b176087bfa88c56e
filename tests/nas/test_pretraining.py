"""Searches whose estimator trains before the first child: stopped, resumed, refused."""

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import nas
from estimators.estimator import Pretraining
from estimators.supernet import Supernet
from nas.children import Children
from nas.errors import NasError
from nas.interrupts import Interrupted
from nas.journal import read_events
from nas.limits import Limits
from search_spaces.architecture import lower
from search_spaces.space import SearchSpace

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fresh process of the export, and with a short ranking check."""
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    monkeypatch.setattr("estimators.supernet_training.JUDGED", 2)


@pytest.fixture
def options(mini: type[SearchSpace], images: Data) -> dict[str, Any]:
    settings = {"estimator": {"epochs": 2, "batch_size": 16}}
    parts = {"space": mini, "data": images, "estimator": "supernet", "settings": settings}
    return {**parts, "study": False, "workers": 0, "budget": 3, "seed": 1}


def history(result: nas.Result) -> list[Any]:
    return [(trial.ordinal, trial.digest, trial.state, trial.metrics) for trial in result.trials]


def events(folder: Path) -> list[str]:
    return [event["event"] for event in read_events(folder / "events.jsonl")]


@pytest.mark.slow
def test_a_search_stopped_while_it_trains_goes_on_as_the_calm_one(
    options: dict[str, Any],
    mini: type[SearchSpace],
    images: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calm = nas.search(out=tmp_path / "calm", **options)
    whole, steps = Supernet.pretrain, iter(range(100))

    def struck(estimator: Supernet, given: Pretraining) -> float | None:
        def stop() -> bool:
            if next(steps) == 3:
                signal.raise_signal(signal.SIGINT)
            return given.stop()

        again = Pretraining(
            *(given.population, given.folder, given.seed, given.device, given.tell, stop)
        )
        return whole(estimator, again)

    monkeypatch.setattr(Supernet, "pretrain", struck)
    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match=f"go on with: nas resume {folder}"):
        nas.search(out=folder, **options)
    assert events(folder) == ["opened"]
    result = nas.resume(folder, space=mini, data=images, workers=0, study=False)
    assert history(result) == history(calm)
    assert events(folder)[:3] == ["opened", "opened", "pretrained"]
    result = nas.resume(folder, space=mini, data=images, workers=0, study=False, budget=4)
    assert history(result)[:3] == history(calm)
    assert events(folder).count("pretrained") == 1


def test_a_supernet_stops_at_the_time_limit_and_goes_on(
    options: dict[str, Any], mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    said = f"time limit of .* h reached while the estimator .* go on with: nas resume {folder}"
    with pytest.raises(NasError, match=said) as caught:
        nas.search(out=folder, max_hours=1e-6, **options)
    assert caught.value.exit_code == 3
    assert events(folder) == ["opened"]
    result = nas.resume(folder, space=mini, data=images, workers=0, study=False)
    assert len(result.trials) == 3
    assert events(folder)[:3] == ["opened", "opened", "pretrained"]


def test_a_damaged_supernet_is_one_line(
    options: dict[str, Any], mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    nas.search(out=folder, **options)
    (folder / "estimator/supernet.json").write_text("{}")
    with pytest.raises(NasError, match=r"supernet\.json: must have schema version") as caught:
        nas.resume(folder, space=mini, data=images, workers=0, study=False, budget=4)
    assert caught.value.exit_code == 4


@pytest.mark.slow
def test_a_search_begins_with_a_trained_network_and_resume_reads_it_again(
    options: dict[str, Any],
    mini: type[SearchSpace],
    images: Data,
    exported: Path,
    tmp_path: Path,
) -> None:
    source = shutil.copytree(exported, tmp_path / "source")
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    filled = {"filled_from": str(source), "epochs": 0}
    options |= {"settings": {"estimator": {**options["settings"]["estimator"], **filled}}}
    folder = tmp_path / "run"
    result = nas.search(out=folder, **options)
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before
    again = {"space": mini, "data": images, "workers": 0, "study": False, "budget": 4}
    weights = source / "model.safetensors"
    changed = load_file(weights)
    save_file({name: value + 1 for name, value in changed.items()}, weights)
    with pytest.raises(NasError, match=r"filled_from is .* in the run") as caught:
        nas.resume(folder, **again)
    assert caught.value.exit_code == 4
    weights.write_bytes(before[weights])
    earlier = history(result)  # duplicates, which are free, among them
    longer = history(nas.resume(folder, **again))
    assert longer[: len(earlier)] == earlier
    assert len(longer) > len(earlier)
    shutil.rmtree(source)
    with pytest.raises(NasError, match="estimator: filled_from must be an exported folder"):
        nas.search(**{**options, "out": tmp_path / "other"})
    assert not (tmp_path / "other").exists()


def test_children_are_drawn_within_the_limits(mini: type[SearchSpace]) -> None:
    space = mini((1, 8, 8), 2)
    rng = np.random.default_rng(0)
    every = [space.genome.unrank(rank) for rank in range(space.genome.size)]
    graphs = [lower(space.architecture(genotype)) for genotype in every]
    most = sorted({graph.params for graph in graphs})[2]  # half of the widths
    children = Children(space, Limits(max_params=most))
    drawn = {children.draw(rng).params for _ in range(60)}
    assert drawn == {graph.params for graph in graphs if graph.params <= most}
    smallest, largest = children.extremes(rng, samples=4)
    assert (smallest.params, largest.params) == (min(drawn), max(drawn))
