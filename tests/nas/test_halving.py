"""Successive halving: rungs, who goes on, what the strategy is told, and what survives."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
import torch

import nas
from estimators.data import ImageData
from estimators.estimator import Checkpoint, Estimator, Evaluation, EvaluationError, Report
from estimators.task import Task
from nas import api, status
from nas.errors import NasError
from nas.halving import climber, cost_share, rungs_of
from nas.journal import read_events
from nas.limits import Limits, Objective
from nas.plan import Plan
from nas.record import Record
from nas.run_folder import read_record
from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.genome import Decision, Genome, Genotype
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace

Data = tuple[np.ndarray, np.ndarray]
ACCURACY = Objective("accuracy", "maximize")
RUNGS = (1 / 9, 1 / 3, 1.0)


class Wide(SearchSpace):
    """36 networks, each of two genotypes."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        self._shape, self._classes = input_shape, num_classes
        widths = tuple(Decision.of(name, range(2, 8)) for name in ("first", "second"))
        self._genome = Genome((*widths, Decision.of("label", ("a", "b"))))

    @property
    def genome(self) -> Genome:
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        layers = tuple(ConvNormAct(int(genotype[name])) for name in ("first", "second"))
        return Architecture("Wide", self._shape, ConvNormAct(4), (layers,), Classifier(2))


def place(graph: Graph, seed: int) -> float:
    """How good a network is, in (0, 1): its own luck."""
    return float(np.random.default_rng((graph.params, graph.macs, seed)).random())


def checkpoint(step: int, seed: int) -> Checkpoint:
    """One that tells whose it is."""
    generator = torch.Generator().manual_seed(seed)
    weights = {"layer.weight": torch.randn((2, 3), generator=generator), "count": torch.tensor(7)}
    held = {"step": torch.tensor(float(step)), "exp_avg": torch.ones(3), "flag": True}
    groups = [{"lr": 0.1, "betas": (0.9, 0.99), "foreach": None, "params": [0]}]
    return Checkpoint(step, weights, {"state": {0: held}, "param_groups": groups})


class Climb(Estimator):
    """Trains nothing; ranks stay much the same over the rungs. Notes what it is asked for."""

    calls: ClassVar[list[tuple[float, int, int]]] = []  # fidelity, seed, step to go on from
    folder: ClassVar[Path | None] = None
    files: ClassVar[int] = 0  # most checkpoints seen at once

    def __init__(self, *, fails: float = 0.0) -> None:
        self._fails = fails

    def prepare(self, data: ImageData, task: Task) -> None:
        pass

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        return {"epochs": 9, "fails": self._fails}

    def evaluate(
        self,
        graph: Graph,
        *,
        fidelity: float,
        seed: int,
        device: str,
        start: Checkpoint | None = None,
        report: Report | None = None,
    ) -> Evaluation:
        Climb.calls.append((fidelity, seed, 0 if start is None else start.step))
        if Climb.folder is not None:
            kept = len(list((Climb.folder / "trials").glob("*-rung-*.safetensors")))
            Climb.files = max(Climb.files, kept)
        if start is not None:
            mine = checkpoint(start.step, seed)
            assert torch.equal(start.weights["layer.weight"], mine.weights["layer.weight"])
            assert torch.equal(start.weights["count"], mine.weights["count"])
            assert start.optimizer["state"][0]["flag"] is True
            assert float(start.optimizer["state"][0]["step"]) == start.step
            assert tuple(start.optimizer["param_groups"][0]["betas"]) == (0.9, 0.99)
        luck = place(graph, seed)
        if fidelity > 0.2 and luck < self._fails:
            raise EvaluationError("lost", cause="nan")
        accuracy = 0.5 * fidelity + 0.5 * luck
        step = round(9 * fidelity)
        return Evaluation(
            {"accuracy": accuracy, "log_loss": 1 - accuracy}, checkpoint=checkpoint(step, seed)
        )


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Climb, "calls", [])
    monkeypatch.setattr(Climb, "folder", None)
    monkeypatch.setattr(Climb, "files", 0)
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)


@pytest.fixture
def options(images: Data) -> dict[str, Any]:
    return {
        "space": Wide,
        "data": images,
        "strategy": "evolution",
        "estimator": Climb,
        "budget": 27,
        "halving": 3,
        "workers": 0,
        "study": False,
    }


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("space", "data", "estimator", "workers", "study")}


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder / "events.jsonl") if event["event"] in kinds]


def history(result: nas.Result) -> list[tuple[object, ...]]:
    return [
        (trial.ordinal, trial.genotype, trial.state, trial.fidelity, trial.metrics, trial.reports)
        for trial in result.trials
    ]


# Rungs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "budget", "recipe", "rungs"),
    [
        (3, 27, {"epochs": 9}, [1 / 9, 1 / 3, 1]),
        (3, 26, {"epochs": 9}, [1 / 3, 1]),  # three are left at the top
        (3, 1000, {"epochs": 8}, [1 / 3, 1]),  # one epoch at least
        (2, 24, {}, [1 / 8, 1 / 4, 1 / 2, 1]),
    ],
)
def test_rungs_follow_from_budget_and_epochs(
    factor: int, budget: int, recipe: dict[str, int], rungs: list[float]
) -> None:
    found = rungs_of(factor, budget=budget, fidelity=1.0, recipe=recipe)
    assert found == pytest.approx(rungs)
    half = rungs_of(factor, budget=budget, fidelity=0.5, recipe={})
    assert half[-1] == 0.5


@pytest.mark.parametrize(
    ("budget", "epochs", "message"),
    [(8, 9, "a budget of at least 9, got 8"), (99, 2, "at least 3 epochs for each child, got 2")],
)
def test_no_room_for_two_rungs_is_told(budget: int, epochs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rungs_of(3, budget=budget, fidelity=1.0, recipe={"epochs": epochs})


def test_a_run_costs_as_many_whole_trainings_as_rungs_say() -> None:
    plan = Plan(27, 0, ACCURACY, Limits(), halving=3, rungs=RUNGS)
    assert cost_share(plan) == pytest.approx(3 / 9)
    assert cost_share(Plan(27, 0, ACCURACY, Limits())) == 1.0


class Climbers:
    """A record of paused trials."""

    def __init__(self) -> None:
        self.record = Record(ACCURACY, 27)
        self.plan = Plan(27, 0, ACCURACY, Limits(), halving=3, rungs=RUNGS)

    def apply(self, event: str, **values: Any) -> None:
        self.record.apply({"event": event, "at": 0.0, **values})

    def start(self) -> int:
        ordinal = len(self.record.trials)
        cost = {"params": 1, "macs": 1, "latency_ms": None, "hash": "", "seed": 1}
        answers = {"genotype": {"n": ordinal}, "proposed_fidelity": 1.0, "fidelity": RUNGS[0]}
        self.apply("asked", ordinal=ordinal, **cost, **answers)
        self.apply("started", ordinal=ordinal, attempt=1)
        return ordinal

    def pause(self, ordinal: int, accuracy: float) -> None:
        values = {"metrics": {"accuracy": accuracy}, "seconds": 1.0, "checkpoint": None}
        fidelity = self.record.trials[ordinal].fidelity
        self.apply("paused", ordinal=ordinal, fidelity=fidelity, **values)

    def promote(self, ordinal: int, fidelity: float) -> None:
        self.apply("promoted", ordinal=ordinal, fidelity=fidelity)
        self.apply("started", ordinal=ordinal, attempt=1)

    def next(self, least: int = 0) -> tuple[int, float] | None:
        return climber(self.record, self.plan, least=least)


def test_one_in_three_goes_on_the_highest_rung_first() -> None:
    run = Climbers()
    for accuracy in (0.1, 0.9):
        run.pause(run.start(), accuracy)
    assert run.next() is None
    assert run.next(least=1) == (1, RUNGS[1])
    for accuracy in (0.3, 0.8, 0.2, 0.7):
        run.pause(run.start(), accuracy)
    assert run.next() == (1, RUNGS[1])
    run.promote(1, RUNGS[1])
    assert run.next() == (3, RUNGS[1])
    run.promote(3, RUNGS[1])
    assert run.next() is None
    for _ in range(3):
        run.pause(run.start(), 0.95)
    assert run.next() == (6, RUNGS[1])  # and not the third of those before it
    for ordinal in (1, 3):
        run.pause(ordinal, 0.99)
    assert run.next(least=1) == (1, 1.0)
    assert run.record.started == 9


def test_one_that_fails_on_its_way_makes_room_for_the_next() -> None:
    run = Climbers()
    for accuracy in (0.1, 0.9, 0.5):
        run.pause(run.start(), accuracy)
    run.promote(1, RUNGS[1])
    assert run.record.best is not None
    assert run.record.best.ordinal == 1
    done = {"seconds": 1.0, "cause": "nan", "message": "", "trace": "", "of": None}
    run.apply("finished", ordinal=1, state="failed", metrics={}, attempt=1, **done)
    assert run.record.best.ordinal == 2
    assert run.next(least=1) == (2, RUNGS[1])
    assert (run.record.judged, run.record.failures.total()) == (3, 1)


def test_what_is_paused_stops_with_the_search_and_may_go_on_in_an_extension() -> None:
    run = Climbers()
    for accuracy in (0.1, 0.9, 0.5):
        run.pause(run.start(), accuracy)
    run.apply("ended", reason="budget spent", outcome="done")
    assert run.record.states() == {"stopped": 3}
    assert [trial.ordinal for trial in run.record.ranking()] == [1, 2, 0]
    assert run.next(least=1) is None
    opened = {"pid": 1, "host": "", "time": 0.0, "workers": 0, "versions": {}}
    run.apply("opened", budget=30, **opened)
    assert run.record.states() == {"paused": 3}
    assert run.next() == (1, RUNGS[1])


def test_a_journal_that_promotes_what_is_not_paused_is_damaged() -> None:
    run = Climbers()
    ordinal = run.start()
    with pytest.raises(ValueError, match="cannot go on"):
        run.apply("promoted", ordinal=ordinal, fidelity=1.0)
    run.pause(ordinal, 0.5)
    with pytest.raises(ValueError, match="cannot go on"):
        run.apply("promoted", ordinal=ordinal, fidelity=RUNGS[0])


# Whole runs ----------------------------------------------------------------------------------


def test_a_promoted_child_stays_one_trial_and_goes_on_from_its_checkpoint(
    options: dict[str, Any], tmp_path: Path
) -> None:
    result = api.search(**options, out=tmp_path / "run")
    record = status.read(tmp_path / "run")[1]
    assert read_record(tmp_path / "run").derived.rungs == pytest.approx(RUNGS)
    assert record.started == 27
    assert sum(record.states()[state] for state in ("complete", "stopped")) == 27
    reached = {rung: len(scores) for rung, scores in record.rungs.items()}
    assert reached[RUNGS[0]] == 27
    assert reached[RUNGS[1]] >= 9
    assert reached[1.0] >= 3
    starts = [event["start"] for event in events(tmp_path / "run", "started")]
    counts = Counter(starts)
    assert counts == {0.0: 27, RUNGS[0]: reached[RUNGS[1]], RUNGS[1]: reached[1.0]}
    searched = Climb.calls[: len(starts)]
    assert [round(step) for *_, step in searched] == [round(9 * start) for start in starts]
    for trial in result.trials:
        if trial.state == "stopped":
            assert trial.fidelity == max(trial.reports)
    assert result.best.trial.fidelity == 1.0
    assert not list((tmp_path / "run" / "trials").glob("*-rung-*"))


@pytest.mark.slow
def test_only_the_best_of_a_rung_go_on(options: dict[str, Any], tmp_path: Path) -> None:
    api.search(**options, out=tmp_path / "run")
    reached: dict[float, dict[int, float]] = {}
    at: dict[int, float] = {}
    for event in events(tmp_path / "run", "paused", "promoted"):
        if event["event"] == "paused":
            accuracy = event["metrics"]["accuracy"]
            reached.setdefault(event["fidelity"], {})[event["ordinal"]] = accuracy
            at[event["ordinal"]] = event["fidelity"]
            continue
        scores = reached[at[event["ordinal"]]]
        better = sum(score > scores[event["ordinal"]] for score in scores.values())
        assert better < max(1, len(scores) // 3)


def test_the_strategy_is_told_once_what_the_lowest_rung_said(
    options: dict[str, Any], tmp_path: Path
) -> None:
    api.search(**options, out=tmp_path / "run")
    record = status.read(tmp_path / "run")[1]
    told = events(tmp_path / "run", "told")
    assert Counter(event["ordinal"] for event in told) == {
        trial.ordinal: 1 for trial in record.trials
    }
    for event in told:
        trial = record.trials[event["ordinal"]]
        lowest = trial.reports.get(RUNGS[0], trial.metrics)
        assert event["rewards"] == [lowest["accuracy"]]
        assert lowest["accuracy"] < 0.5 * RUNGS[1] + 0.5


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_a_run_killed_at_any_event_ends_like_the_calm_one(
    options: dict[str, Any], tmp_path: Path, part: int
) -> None:
    options["settings"] = {"estimator": {"fails": 0.3}}
    calm = api.search(**options, out=tmp_path / "calm")
    lines = (tmp_path / "calm" / "events.jsonl").read_bytes().splitlines(keepends=True)
    searched = next(at for at, line in enumerate(lines) if b'"ended"' in line)
    for cut in range(2 + 3 * part, searched, 31):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        shutil.copy(tmp_path / "calm" / "run.json", folder)
        (folder / "events.jsonl").write_bytes(b"".join(lines[:cut]))
        again = nas.resume(folder, **given(options))
        assert history(again) == history(calm), lines[cut - 1]
        assert again.best.trial.ordinal == calm.best.trial.ordinal


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["lost", "cut", "other"])
def test_a_lost_checkpoint_costs_time_and_changes_nothing(
    options: dict[str, Any], tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = api.search(**options, out=tmp_path / "calm")
    monkeypatch.setattr("nas.engine.read_checkpoint", damaged(damage))
    other = api.search(**options, out=tmp_path / "other")
    assert history(other) == history(calm)
    assert {event["start"] for event in events(tmp_path / "other", "started")} == {0.0}


def damaged(damage: str) -> Any:
    """Reads checkpoints that somebody has been at."""
    from nas.checkpoints import read_checkpoint  # noqa: PLC0415 - as it was before

    def read(folder: Path, kept: Any) -> Checkpoint | None:
        path = folder / kept.file
        if damage == "lost":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:-1])
        else:
            path.write_bytes(path.read_bytes().replace(b"foreach", b"foreign"))
        return read_checkpoint(folder, kept)

    return read


def test_a_duplicate_has_the_score_of_the_lowest_rung(
    options: dict[str, Any], tmp_path: Path
) -> None:
    result = api.search(**{**options, "budget": 34}, out=tmp_path / "run")
    twins = [trial for trial in result.trials if trial.state == "duplicate"]
    assert twins
    for trial in twins:
        assert trial.of is not None
        assert trial.metrics == result.trials[trial.of].reports[RUNGS[0]]


@pytest.mark.slow
def test_a_space_that_is_used_up_still_trains_somebody_in_full(
    options: dict[str, Any], tmp_path: Path
) -> None:
    result = api.search(**{**options, "strategy": "grid", "budget": 81}, out=tmp_path / "run")
    assert sum(trial.state in {"complete", "stopped"} for trial in result.trials) == 36
    assert result.best.trial.fidelity == 1.0


@pytest.mark.slow
def test_checkpoints_on_the_disk_are_bounded(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Climb, "folder", tmp_path / "run")
    api.search(**{**options, "strategy": "random"}, out=tmp_path / "run")
    assert 0 < Climb.files <= 27 // 2 + 3


@pytest.mark.slow
def test_an_extension_keeps_the_rungs_and_lets_more_go_on(
    options: dict[str, Any], tmp_path: Path
) -> None:
    api.search(**options, out=tmp_path / "run")
    before = len(status.read(tmp_path / "run")[1].rungs[1.0])
    nas.resume(tmp_path / "run", **given(options), budget=36)
    record = status.read(tmp_path / "run")[1]
    assert read_record(tmp_path / "run").derived.rungs == pytest.approx(RUNGS)
    assert record.started == 36
    assert len(record.rungs[1.0]) > before
    assert record.states()["paused"] == 0


@pytest.mark.slow
def test_the_study_has_a_value_at_each_rung(options: dict[str, Any], tmp_path: Path) -> None:
    result = api.search(**{**options, "study": True}, out=tmp_path / "run")
    states = {
        "complete": optuna.trial.TrialState.COMPLETE,
        "stopped": optuna.trial.TrialState.PRUNED,
    }
    trials = result.study.trials
    assert len(trials) == len(result.trials)
    for found, trial in zip(trials, result.trials, strict=True):
        if trial.state in states:
            values = [metrics["accuracy"] for metrics in trial.reports.values()]
            assert found.state is states[trial.state]
            assert found.intermediate_values == dict(enumerate(values, start=1))
    nas.resume(tmp_path / "run", **{**given(options), "study": True}, budget=30)
    again = api.Result.study.fget(result)  # type: ignore[attr-defined]
    assert len(again.trials) > len(trials)


def test_the_status_shows_the_rungs(options: dict[str, Any], tmp_path: Path) -> None:
    api.search(**options, out=tmp_path / "run")
    found = status.document(tmp_path / "run")["rungs"]
    assert [one["fidelity"] for one in found] == pytest.approx(RUNGS)
    assert found[0]["trials"] == 27


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"halving": 1}, "--halving must be at least 2, got 1"),
        ({"halving": 2.5}, "--halving must be a whole number, got 2.5"),
        ({"halving": "three"}, "--halving must be a whole number, got 'three'"),
        ({"budget": 5}, "--halving 3 needs a budget of at least 9, got 5"),
        ({"estimator": "proxy"}, "--halving needs an estimator that trains, got proxy"),
        ({"objective": ("accuracy", "macs")}, "--halving ranks by one --objective, got 2"),
        (
            {"estimator": "training", "settings": {"estimator": {"folds": 2}}},
            "--halving continues trainings, and those of --set estimator.folds cannot be",
        ),
    ],
)
def test_halving_that_cannot_be_is_told_before_the_run(
    options: dict[str, Any], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(NasError, match=message) as caught:
        api.search(**{**options, **changes}, out=tmp_path / "run")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.ray
def test_children_go_on_in_whatever_process(images: Data, tmp_path: Path) -> None:
    result = nas.search(
        data=images,
        budget=9,
        halving=3,
        workers=2,
        settings={"estimator": {"epochs": 3, "batch_size": 16}},
        out=tmp_path / "run",
    )
    starts = [event["start"] for event in events(tmp_path / "run", "started")]
    assert sum(start > 0 for start in starts) >= 3
    assert result.best.trial.fidelity == 1.0
