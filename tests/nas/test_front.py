"""Searches for several objectives: the front in the record and in folders, and choosing from it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nas
from nas import api, status
from nas.configuration import Configuration
from nas.errors import NasError
from nas.front import covered
from nas.journal import read_events
from nas.limits import Objective
from nas.panel import panel
from nas.preparation import prepare
from nas.record import Record
from nas.run_folder import read_record
from nas.status import front_lines, now
from search_spaces.space import SearchSpace
from search_spaces.strict_json import dumps, loads
from strategies import DEFAULT_OF_SEVERAL, DEFAULT_STRATEGY

Data = tuple[np.ndarray, np.ndarray]
GOALS = (
    Objective("accuracy", "maximize", (0.0, 1.0)),
    Objective("params", "minimize", (100.0, 0.0)),
)


class Growing:
    """A record of complete trials with these accuracies and parameters."""

    def __init__(self, *objectives: Objective) -> None:
        self.record = Record(objectives[0], 100, beside=objectives[1:])

    def add(self, accuracy: float, params: int, *, fidelity: float = 1.0, macs: int = 5) -> None:
        ordinal = len(self.record.trials)
        cost = {"params": params, "macs": macs, "latency_ms": None}
        asked = {"genotype": {"n": ordinal}, "proposed_fidelity": 1.0, "hash": "", "seed": 1}
        done = {"seconds": 1.0, "cause": "", "message": "", "trace": "", "of": None}
        metrics = {"accuracy": accuracy, "log_loss": 1 - accuracy}
        for event, values in (
            ("asked", {**asked, **cost, "fidelity": fidelity}),
            ("started", {"attempt": 1}),
            ("finished", {"state": "complete", "metrics": metrics, **done}),
        ):
            self.record.apply({"event": event, "at": 0.0, "ordinal": ordinal, **values})

    @property
    def front(self) -> list[int]:
        return [trial.ordinal for trial in self.record.front]


# The record ----------------------------------------------------------------------------------


def test_the_front_is_what_no_other_is_as_good_as_everywhere() -> None:
    run = Growing(*GOALS)
    for accuracy, params in ((0.5, 50), (0.9, 80), (0.5, 60), (0.4, 40), (0.95, 80), (0.3, 45)):
        run.add(accuracy, params)
    assert run.front == [0, 3, 4]
    assert run.record.best is not None
    assert run.record.best.ordinal == 4


def test_of_equals_the_cheaper_one_stays() -> None:
    run = Growing(GOALS[0], Objective("log_loss", "minimize"))
    run.add(0.5, 50)
    run.add(0.5, 50, macs=4)
    run.add(0.5, 50)
    assert run.front == [1]


def test_a_higher_fidelity_begins_the_front_anew() -> None:
    run = Growing(*GOALS)
    run.add(0.9, 10, fidelity=0.5)
    run.add(0.5, 50)
    run.add(0.95, 5, fidelity=0.5)
    assert run.front == [1]
    assert [trial.ordinal for trial in run.record.ranking()] == [1]


def test_the_ranking_has_the_ends_of_the_front_first_then_what_is_behind() -> None:
    run = Growing(*GOALS)
    for accuracy, params in ((0.50, 50), (0.9, 90), (0.1, 10), (0.52, 52), (0.4, 91), (0.3, 92)):
        run.add(accuracy, params)
    ranking = [trial.ordinal for trial in run.record.ranking()]
    assert set(ranking[:2]) == {1, 2}
    assert set(ranking[2:4]) == {0, 3}
    assert ranking[4:] == [4, 5]


def test_the_hypervolume_is_a_share_of_the_box_from_the_worst_to_the_ideal() -> None:
    run = Growing(*GOALS)
    assert run.record.hypervolume() == 0.0
    run.add(0.5, 50)
    assert run.record.hypervolume() == pytest.approx(0.25)
    run.add(0.75, 80)
    assert run.record.hypervolume() == pytest.approx(0.25 + 0.25 * 0.2)
    run.add(1.0, 1_000)  # beyond the worst: on the front, and covers nothing
    assert run.front == [0, 1, 2]
    assert run.record.hypervolume() == pytest.approx(0.3)
    assert covered(GOALS, []) == 0.0


# Whole runs ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def options(mini: type[SearchSpace], images: Data) -> dict[str, Any]:
    return {
        "space": mini,
        "data": images,
        "strategy": "evolution",
        "budget": 3,
        "workers": 0,
        "objective": ("accuracy", "params"),
        "settings": {"estimator": {"epochs": 1, "batch_size": 16}},
    }


@pytest.fixture(scope="session")
def several(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> nas.Result:
    """A finished search; for reading only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
        return api.search(**options, out=tmp_path_factory.mktemp("several") / "run")


@pytest.fixture
def folder(several: nas.Result, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(several.folder, tmp_path / "run"))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)


def test_every_member_of_the_front_is_exported_and_summed_up(several: nas.Result) -> None:
    run, summary = several.folder, loads((several.folder / "summary.json").read_bytes())
    assert summary["best"] is None
    assert summary["objectives"] == ["accuracy", "params"]
    members = summary["front"]
    assert [one["trial"] for one in members] == [one.trial.ordinal for one in several.front]
    assert len(members) >= 1
    for one, found in zip(members, several.front, strict=True):
        assert one["objectives"] == {"accuracy": found.mean, "params": found.trial.params}
        assert one["genotype"] == found.trial.genotype.to_dict()
        assert set(one["test"]) >= {"accuracy", "log_loss"}
        files = {path.name for path in (run / one["folder"]).iterdir()}
        assert {"model.py", "model.safetensors", "architecture.json", "README.md"} <= files
    assert not (run / "best").exists()
    assert 0 < summary["hypervolume"] <= 1
    assert "<svg" in (run / "front.svg").read_text()


def test_no_member_is_as_good_as_another_everywhere_and_none_is_missing(
    several: nas.Result,
) -> None:
    points = {one.trial.ordinal: (one.mean, -one.trial.params) for one in several.finalists}
    for ordinal, point in points.items():
        beaten = any(
            all(a >= b for a, b in zip(other, point, strict=True)) and other != point
            for other in points.values()
        )
        assert beaten == (ordinal not in {one.trial.ordinal for one in several.front})


def test_the_test_images_are_read_once_for_each_member(several: nas.Result) -> None:
    events = list(read_events(several.folder / "events.jsonl"))
    read = [event["ordinal"] for event in events if event["event"] == "test_read"]
    assert sorted(read) == sorted(one.trial.ordinal for one in several.front)


def test_the_run_says_what_its_hypervolume_is_measured_from(
    several: nas.Result,
) -> None:
    record = read_record(several.folder)
    assert [one.metric for one in record.beside] == ["params"]
    assert record.derived.scales["accuracy"] == (0.0, 1.0)
    worst, ideal = record.derived.scales["params"]
    assert ideal == 0.0
    assert worst >= max(trial.params for trial in several.trials)
    assert record.derived.run["finalists"] == 8


def test_the_study_has_a_direction_and_a_value_for_each_objective(several: nas.Result) -> None:
    study = several.study
    assert [one.name for one in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["accuracy", "params"]
    complete = [one for one in study.trials if one.values is not None]
    assert [(one.number, one.values) for one in complete] == [
        (trial.ordinal, [trial.metrics["accuracy"], trial.params])
        for trial in several.trials
        if trial.state == "complete"
    ]
    record = status.read(several.folder)[1]
    front = {tuple(record.rewards(trial)) for trial in record.front}
    assert {(one.values[0], -one.values[1]) for one in study.best_trials} == front


def test_the_standing_shows_the_front(several: nas.Result) -> None:
    document = status.document(several.folder)
    summary = loads((several.folder / "summary.json").read_bytes())
    assert (document["best"], document["front"]) == (None, summary["front"])
    standing = now(several.folder)
    assert front_lines(standing)[0].startswith(f"{len(standing.front)} networks, hypervolume 0.")
    assert panel(standing)


@pytest.mark.usefixtures("unchecked")
def test_a_run_that_is_done_is_left_as_it_is(folder: Path, options: dict[str, Any]) -> None:
    before = (folder / "events.jsonl").read_bytes()
    given = {name: options[name] for name in ("space", "data")}
    again = nas.resume(folder, **given, workers=0)
    assert (folder / "events.jsonl").read_bytes() == before
    assert [one.trial.ordinal for one in again.front]


@pytest.mark.usefixtures("unchecked")
def test_a_run_goes_on_with_the_scales_it_has(folder: Path, options: dict[str, Any]) -> None:
    run = loads((folder / "run.json").read_bytes())
    run["derived"]["scales"]["params"] = [12_345.0, 0.0]  # as another machine would measure
    (folder / "run.json").write_text(dumps(run))
    given = {name: options[name] for name in ("space", "data")}
    nas.resume(folder, **given, workers=0, budget=4)
    assert read_record(folder).objectives[1].scale == (12_345.0, 0.0)


@pytest.mark.usefixtures("unchecked")
def test_an_extension_keeps_its_scales_and_removes_who_left_the_front(
    folder: Path, options: dict[str, Any]
) -> None:
    (folder / "front" / "trial-99").mkdir()
    scales = read_record(folder).derived.scales
    given = {name: options[name] for name in ("space", "data")}
    more = nas.resume(folder, **given, workers=0, budget=5)
    assert read_record(folder).derived.scales == scales
    exported = {path.name for path in (folder / "front").iterdir()}
    assert exported == {f"trial-{one.trial.ordinal}" for one in more.front}
    assert sum(trial.state == "complete" for trial in more.trials) == 5


@pytest.mark.usefixtures("unchecked")
def test_a_search_that_was_killed_goes_on_to_the_same_front(
    several: nas.Result, folder: Path, options: dict[str, Any]
) -> None:
    (folder / "summary.json").unlink()
    path = folder / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    done = [at for at, line in enumerate(lines) if b'"finished"' in line]
    path.write_bytes(b"".join(lines[: done[1] + 1]))
    given = {name: options[name] for name in ("space", "data")}
    again = nas.resume(folder, **given, workers=0)
    assert [(one.trial.ordinal, one.scores) for one in again.front] == [
        (one.trial.ordinal, one.scores) for one in several.front
    ]
    assert [(trial.genotype, trial.metrics) for trial in again.trials] == [
        (trial.genotype, trial.metrics) for trial in several.trials
    ]


@pytest.mark.usefixtures("unchecked")
def test_a_killed_export_is_done_again(folder: Path, options: dict[str, Any]) -> None:
    (folder / "summary.json").unlink()
    lost = next((folder / "front").iterdir())
    (lost / "architecture.json").unlink()
    (folder / "front" / ".trial-7.tmp-x").mkdir()
    given = {name: options[name] for name in ("space", "data")}
    nas.resume(folder, **given, workers=0)
    assert (lost / "architecture.json").is_file()
    assert not (folder / "front" / ".trial-7.tmp-x").exists()
    reads = [e for e in read_events(folder / "events.jsonl") if e["event"] == "test_read"]
    assert len(reads) == len(list((folder / "front").iterdir()))


# Choosing from it ----------------------------------------------------------------------------


def test_a_member_is_chosen_by_its_trial(several: nas.Result) -> None:
    for one in several.front:
        model = nas.load(several.folder, trial=one.trial.ordinal)
        assert sum(weight.numel() for weight in model.parameters()) == one.trial.params
    best = several.model.state_dict()
    first = nas.load(several.folder, trial=several.best.trial.ordinal).state_dict()
    assert all(torch.equal(first[name], value) for name, value in best.items())


@pytest.mark.usefixtures("unchecked")
def test_a_member_can_be_exported(several: nas.Result, tmp_path: Path) -> None:
    several.export(tmp_path / "one", trial=several.front[-1].trial.ordinal)
    several.export(tmp_path / "two")
    assert (tmp_path / "one" / "model.py").is_file()
    assert (tmp_path / "two" / "model.py").is_file()


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (nas.load, "has a front of several networks; choose one by --trial"),
        (lambda run: nas.load(run, trial=99), "--trial must be a member of the front"),
        (lambda run: nas.load("resnet18", trial=1), "resnet18 holds no front"),
        (lambda run: nas.load(run / "front", trial=1), "holds no front"),
    ],
)
def test_a_choice_that_cannot_be_is_told_in_a_line(
    several: nas.Result, choose: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(NasError, match=message) as caught:
        choose(several.folder)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "params"}, "--objective must begin with a metric of the task"),
        ({"objective": ("params", "accuracy")}, "costs come after it"),
        ({"objective": ("accuracy", "accuracy")}, "must name each one once"),
        ({"objective": ()}, "must be 1 to 4 names, got 0"),
        ({"objective": ("accuracy", "param")}, "did you mean params?"),
        ({"strategy": "tpe"}, "several are for evolution, grid, nsga2, random"),
        ({"strategy": "predictor"}, "several are for evolution"),
    ],
)
def test_objectives_that_cannot_be_are_told_before_the_run(
    options: dict[str, Any], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(NasError, match=message) as caught:
        api.search(**{**options, **changes}, out=tmp_path / "run")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("objective", "expected"),
    [("accuracy", DEFAULT_STRATEGY), (("accuracy", "params"), DEFAULT_OF_SEVERAL)],
)
def test_the_default_strategy_follows_the_number_of_objectives(
    objective: str | tuple[str, ...], expected: str
) -> None:
    assert prepare(Configuration(budget=4, objective=objective)).run.strategy == expected
