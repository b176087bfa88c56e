"""Whole searches from Python: what they find, write, read once, and refuse."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import nas
from estimators import child_training
from estimators.data import ImageData, Split
from estimators.estimator import Checkpoint, Estimator, Evaluation, EvaluationError, Report
from estimators.task import Classification, Task
from estimators.training import Training
from nas import api, ending, plugins
from nas.configuration import Configuration
from nas.errors import NasError
from nas.events import check_event
from nas.journal import read_events
from nas.preparation import prepare
from nas.result import TestFigures
from nas.run_folder import RunRecord
from search_spaces.architecture import Architecture
from search_spaces.genome import Genotype
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.space import SearchSpace
from search_spaces.strict_json import loads
from strategies.random import RandomSearch

Data = tuple[np.ndarray, np.ndarray]


def small(mini: type[SearchSpace], images: Data, **changes: Any) -> dict[str, Any]:
    """Options of a search that takes a second."""
    return {
        "space": mini,
        "data": images,
        "strategy": "random",
        "budget": 2,
        "workers": 0,
        "settings": {"estimator": {"epochs": 1, "batch_size": 16}},
        **changes,
    }


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the fresh process of the export, which takes seconds."""
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)


def events(folder: Path) -> list[dict[str, Any]]:
    return list(read_events(folder / "events.jsonl"))


def document(path: Path) -> Any:
    return loads(path.read_bytes())


def trials_of(result: nas.Result) -> list[tuple[object, ...]]:
    return [
        (trial.ordinal, trial.genotype, trial.digest, trial.state, trial.seed, trial.metrics)
        for trial in result.trials
    ]


# What a run leaves -------------------------------------------------------------------------


def test_a_run_folder_holds_exactly_these_files(finished: Any) -> None:
    folder = finished.result.folder
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    weights = [name for name in names if name.startswith("trials/")]
    assert len(weights) == 6
    assert [name for name in names if name not in weights] == [
        ".lock",
        "best",
        "best/README.md",
        "best/SHA256SUMS",
        "best/architecture.json",
        "best/architecture.svg",
        "best/model.py",
        "best/model.safetensors",
        "events.jsonl",
        "run.json",
        "study.db",
        "summary.json",
        "trials",
    ]


def test_the_summary_holds_what_scripts_read(finished: Any) -> None:
    result = finished.result
    summary = document(result.folder / "summary.json")
    assert set(summary) == {
        "schema_version",
        "hypervolume",
        "objective",
        "objectives",
        "best",
        "searched",
        "comparison",
        "front",
        "finalists",
        "states",
        "ended",
        "seconds",
        "budget",
        "sessions",
        "audit",
    }
    assert summary["audit"] is None
    assert set(summary["best"]) == {
        "trial",
        "reference",
        "score",
        "fidelity",
        "scores",
        "search_score",
        "search_metric",
        "params",
        "macs",
        "latency_ms",
        "genotype",
        "test",
        "test_by_class",
        "test_reads",
        "final_training",
    }
    assert summary["schema_version"] == 1
    assert summary["front"] is None
    assert summary["states"]["complete"] == 3
    assert sum(summary["states"].values()) == len(result.trials)
    assert summary["ended"] == "budget spent"
    best = summary["best"]
    assert (best["score"], best["test"]) == (result.best.mean, result.test)
    assert best["genotype"] == result.best.trial.genotype.to_dict()
    assert summary["finalists"][0]["trial"] == best["trial"]
    assert set(best["test"]) == set(Classification(2).metrics)
    rows = best["test_by_class"]
    assert [(row.pop("class"), row) for row in rows] == [
        (name, asdict(figures)) for name, figures in result.test_by_class.items()
    ]
    assert [row["support"] for row in rows] == [6, 6]
    assert np.mean([row["recall"] for row in rows]) == best["test"]["balanced_accuracy"]


def test_a_reading_of_an_older_run_has_no_figures_of_classes(finished: Any) -> None:
    (event,) = [one for one in events(finished.result.folder) if one["event"] == "test_read"]
    assert set(TestFigures.of(event, ("a", "b")).by_class) == {"a", "b"}
    check_event({name: value for name, value in event.items() if name != "by_class"})
    del event["by_class"]
    assert TestFigures.of(event, ("a", "b")).by_class == {}


def test_the_record_holds_what_was_asked_for_and_what_was_derived(finished: Any) -> None:
    text = (finished.result.folder / "run.json").read_text()
    record = RunRecord.model_validate_json(text)
    loads(text)
    assert record.space.endswith("conftest:Mini")  # a class without a name
    assert (record.strategy, record.estimator) == ("random", "training")
    assert (record.budget, record.seed, record.objective) == (3, 4, "accuracy")
    assert (record.data, record.input_shape, record.num_classes) == ("arrays", (1, 8, 8), 2)
    assert record.settings.estimator == {"epochs": 2, "batch_size": 16}
    assert record.derived.estimator["epochs"] == 2
    assert record.derived.estimator["data"] == record.data_fingerprint
    assert record.derived.run == {"finalists": 3, "fresh_seeds": 2}
    assert record.genotypes == "12"
    assert record.device in {"cpu", "cuda", "mps"}


def test_every_event_names_a_trial_of_the_run(finished: Any) -> None:
    result = finished.result
    kinds = [event["event"] for event in events(result.folder)]
    assert kinds.count("rescored") == 6
    assert kinds[-2:] == ["test_read", "exported"]
    assert kinds.index("ended") < kinds.index("rescored")
    ordinals = {event["ordinal"] for event in events(result.folder) if "ordinal" in event}
    assert ordinals == {trial.ordinal for trial in result.trials}


def test_the_same_seed_gives_the_same_run(
    finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    torch.manual_seed(99)
    again = nas.search(out=tmp_path / "again", **finished.options)
    assert trials_of(again) == trials_of(finished.result)
    assert again.test == finished.result.test
    other = nas.search(out=tmp_path / "other", **{**finished.options, "seed": 5})
    assert trials_of(other) != trials_of(finished.result)


@pytest.mark.usefixtures("unchecked")
def test_the_test_images_are_read_once_and_by_the_winner(
    mini: type[SearchSpace], images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    measure, scored, prepare = child_training.measure, ending.scored, api.prepare
    tests: list[Split] = []

    def prepared(*arguments: Any, **options: Any) -> Any:
        found = prepare(*arguments, **options)
        tests.append(found.images.test)
        return found

    def watched(read_by: Any) -> Any:
        def call(model: Any, split: Split, *arguments: Any, **keywords: Any) -> Any:
            read.append("test" if split is tests[0] else "other")
            return read_by(model, split, *arguments, **keywords)

        return call

    monkeypatch.setattr(api, "prepare", prepared)
    monkeypatch.setattr(ending, "scored", watched(scored))
    monkeypatch.setattr(child_training, "measure", watched(measure))
    result = nas.search(out=tmp_path / "run", **small(mini, images))
    assert read.count("test") == 1
    assert read[-1] == "test"
    (event,) = [event for event in events(result.folder) if event["event"] == "test_read"]
    assert event["ordinal"] == result.best.trial.ordinal


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("strategy", ["grid", "evolution", RandomSearch])
def test_every_strategy_gets_through(
    mini: type[SearchSpace], images: Data, tmp_path: Path, strategy: Any
) -> None:
    result = nas.search(out=tmp_path / "run", **small(mini, images, strategy=strategy))
    assert sum(trial.state == "complete" for trial in result.trials) == 2
    assert result.best.trial.state == "complete"


@pytest.mark.usefixtures("unchecked")
def test_a_built_in_space_gets_through_within_its_limits(images: Data, tmp_path: Path) -> None:
    options = small(SearchSpace, images, space="mbconv", max_params=40_000, objective="log_loss")
    result = nas.search(out=tmp_path / "run", **options)
    assert all(t.params <= 40_000 for t in result.trials if t.state == "complete")
    scores = [one.mean for one in result.finalists]
    assert scores == sorted(scores)
    assert document(result.folder / "summary.json")["objective"] == "log_loss"


@pytest.mark.usefixtures("unchecked")
def test_a_fidelity_below_one_is_trained_and_recorded(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    result = nas.search(out=tmp_path / "run", **small(mini, images, fidelity=0.5))
    assert {trial.fidelity for trial in result.trials} == {0.5}
    assert document(result.folder / "run.json")["fidelity"] == 0.5


@pytest.mark.usefixtures("unchecked")
def test_lists_and_numpy_numbers_are_taken_too(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    pixels, labels = images
    options = small(mini, images, data=[pixels, labels.tolist()], budget=np.int64(1))
    result = nas.search(
        out=tmp_path / "run", seed=np.uint8(3), max_params=np.int32(9999), **options
    )
    assert document(result.folder / "run.json")["seed"] == 3


@pytest.mark.usefixtures("unchecked")
def test_a_run_is_put_into_a_numbered_folder_by_default(
    mini: type[SearchSpace], images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = nas.search(**small(mini, images, budget=1))
    assert result.folder == Path("runs/mini-1")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


# Plug-ins ----------------------------------------------------------------------------------


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs a class under a name, as the entry point of a distribution does."""

    def installed(kind: str, name: str, cls: Callable[..., Any]) -> None:
        module = ModuleType("somebody")
        module.Own = cls  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "somebody", module)
        points = [EntryPoint(name, "somebody:Own", f"nas.{kind}")]
        monkeypatch.setattr(
            plugins, "entry_points", lambda group: [p for p in points if p.group == group]
        )

    return installed


@pytest.mark.usefixtures("unchecked")
def test_an_installed_space_is_searched_by_its_name(
    mini: type[SearchSpace], images: Data, tmp_path: Path, install: Callable[..., None]
) -> None:
    install("search_spaces", "tiny", mini)
    options = small(mini, images, space="tiny")
    options["settings"]["space"] = {"kernel": 5}
    result = nas.search(out=tmp_path / "run", **options)
    assert document(result.folder / "run.json")["space"] == "tiny"
    assert "kernel=5" in (result.folder / "best" / "model.py").read_text()


@pytest.mark.usefixtures("unchecked")
def test_an_installed_estimator_that_trains_nothing_still_ends_with_weights(
    mini: type[SearchSpace],
    images: Data,
    tmp_path: Path,
    cheap: type[Estimator],
    install: Callable[..., None],
) -> None:
    install("estimators", "cheap", cheap)
    options = small(mini, images, estimator="cheap", settings={"estimator": {"luck": 0.5}})
    result = nas.search(out=tmp_path / "run", **options)
    assert document(result.folder / "run.json")["derived"]["estimator"]["luck"] == 0.5
    assert result.test["accuracy"] >= 0.5
    assert result.model.state_dict().keys() == build(result.best.child.graph).state_dict().keys()


def test_a_plug_in_of_another_kind_is_refused(
    mini: type[SearchSpace], images: Data, tmp_path: Path, install: Callable[..., None]
) -> None:
    install("estimators", "wrong", dict)
    with pytest.raises(NasError, match="estimator must be a subclass of Estimator, got dict"):
        nas.search(out=tmp_path / "run", **small(mini, images, estimator="wrong", settings={}))
    install("estimators", "wrong", lambda: [1])
    with pytest.raises(NasError, match="estimator must yield an instance of Estimator, got "):
        nas.search(out=tmp_path / "run", **small(mini, images, estimator="wrong", settings={}))


# Failures ----------------------------------------------------------------------------------


def estimator_that(
    does: Callable[[Graph, int], Mapping[str, Any]],
) -> type[Estimator]:
    """An estimator whose metrics are what a function of graph and seed returns."""

    class Own(Estimator):
        """Trains nothing."""

        def prepare(self, data: ImageData, task: Task) -> None:
            pass

        @property
        def recipe(self) -> Mapping[str, float | int | str]:
            return {}

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
            return Evaluation(does(graph, seed))

    return Own


def failure(out: Path, **options: Any) -> NasError:
    """The error of a search that finds nothing: exit code 3, one line, a summary without a best."""
    with pytest.raises(NasError) as caught:
        nas.search(out=out, **options)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert str(out) in str(caught.value)
    summary = document(out / "summary.json")
    assert summary["best"] is None
    assert summary["finalists"] == []
    assert set(summary) >= {"objective", "front", "states", "ended", "seconds", "schema_version"}
    assert not (out / "best").exists()
    return caught.value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "0.9", 93.1, [0.9]])
def test_what_is_no_score_is_never_the_best(
    mini: type[SearchSpace], images: Data, tmp_path: Path, value: Any
) -> None:
    own = estimator_that(lambda graph, seed: {"accuracy": value, "log_loss": 1.0})
    options = small(mini, images, estimator=own, settings={})
    error = failure(tmp_path / "run", **options)
    assert "2 of 2 children failed: 2 x plugin: accuracy must be a number from 0 to 1" in str(error)
    states = document(tmp_path / "run" / "summary.json")["states"]
    assert states["failed"] == 2


def test_the_objective_alone_is_required_of_an_estimator(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    own = estimator_that(lambda graph, seed: {"macro_f1": graph.params / 10_000})
    options = small(mini, images, estimator=own, settings={})
    result = nas.search(out=tmp_path / "run", **options, objective="macro_f1")
    assert result.best.mean == result.best.trial.params / 10_000
    assert set(result.test) == set(Classification(2).metrics)
    error = failure(tmp_path / "other", **options)
    assert "2 of 2 children failed: 2 x plugin: metric accuracy is missing" in str(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"estimator": {"folds": 35}}}, "estimator: folds must be from 1 to 20"),
        ({"objective": "top5_accuracy"}, "--objective: top5_accuracy is 1 for all networks with"),
    ],
)
def test_what_the_data_cannot_give_is_refused(
    mini: type[SearchSpace], images: Data, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(NasError, match=message) as caught:
        nas.search(**{**small(mini, images), **options})
    assert caught.value.exit_code == 2


def test_data_with_too_few_images_for_the_folds_are_refused_in_one_line(
    mini: type[SearchSpace],
) -> None:
    few = (np.arange(14 * 64, dtype=np.uint8).reshape(14, 8, 8), np.arange(14) % 2)
    options = small(mini, few, settings={"estimator": {"folds": 20}})
    with pytest.raises(NasError, match="estimator: folds must be at most 5, the tra") as caught:
        nas.search(**options)
    assert caught.value.exit_code == 2


def test_one_bad_score_does_not_spoil_the_run(
    mini: type[SearchSpace],
    images: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    calls: list[int] = []

    def second_is_infinite(graph: Graph, seed: int) -> dict[str, Any]:
        calls.append(seed)
        return {"accuracy": np.float32("inf" if len(calls) == 2 else 0.5), "log_loss": 1.0}

    own = estimator_that(second_is_infinite)
    result = nas.search(
        out=tmp_path / "run", **small(mini, images, estimator=own, settings={}, budget=3)
    )
    assert sorted(t.state for t in result.trials if t.state != "duplicate") == [
        "complete",
        "complete",
        "failed",
    ]
    assert result.best.mean == 0.5


def test_finalists_that_fail_are_told_apart_from_a_search_that_found_nothing(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    seen: list[int] = []

    def fails_later(graph: Graph, seed: int) -> dict[str, float]:
        seen.append(seed)
        if len(seen) > 2:
            raise EvaluationError("the loss became nan", cause="nan")
        return {"accuracy": 0.5, "log_loss": 1.0}

    options = small(mini, images, estimator=estimator_that(fails_later), settings={})
    error = failure(tmp_path / "run", **options)
    assert "the best children failed when they were scored again" in str(error)


def test_a_final_training_that_diverges_is_one_line(
    mini: type[SearchSpace],
    images: Data,
    tmp_path: Path,
    cheap: type[Estimator],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise EvaluationError("the loss became nan by step 3", cause="nan")

    monkeypatch.setattr(Training, "evaluate", diverge)
    with pytest.raises(NasError, match=r"final training of trial \d+ failed: the loss") as caught:
        nas.search(out=tmp_path / "run", **small(mini, images, estimator=cheap, settings={}))
    assert caught.value.exit_code == 3


def test_a_latency_that_nothing_keeps_is_told_with_the_lowest_there_is(
    mini: type[SearchSpace], images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.keeping_limits.network_latency_ms", lambda *_, **__: 7.25)
    error = failure(tmp_path / "run", **small(mini, images, max_latency_ms=1.5))
    assert "the lowest latency measured is 7.25 ms" in str(error)


def test_a_full_disk_is_an_error_of_the_surroundings(
    mini: type[SearchSpace], images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NasError, match="No space left on device") as caught:
        nas.search(out=tmp_path / "run", **small(mini, images))
    assert caught.value.exit_code == 5
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


# Mistakes ----------------------------------------------------------------------------------


class Odd(SearchSpace):
    """Its networks do not fit."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        raise TypeError("made wrongly")

    def architecture(self, genotype: Genotype) -> Architecture:
        raise AssertionError("never asked")


MISTAKES: list[tuple[dict[str, Any], str, int]] = [
    ({"budget": 0}, "--budget must be at least 1, got 0", 2),
    ({"budget": 2.5}, "--budget must be a whole number, got 2.5", 2),
    ({"budget": "3"}, "--budget must be a whole number, got '3'", 2),
    ({"budget": 10**30}, "--budget must be at most 2**53", 2),
    ({"seed": -1}, "--seed must be at least 0, got -1", 2),
    ({"seed": 2**60}, "--seed must be at most 2**53", 2),
    ({"seed": None}, "--seed must be a whole number, got None", 2),
    ({"fidelity": 0.0}, "--fidelity must be in (0, 1], got 0.0", 2),
    ({"fidelity": float("nan")}, "--fidelity must be in (0, 1], got nan", 2),
    ({"max_params": 0}, "--max-params must be at least 1, got 0", 2),
    ({"max_params": 1e6}, "--max-params must be a whole number, got 1000000.0", 2),
    ({"max_params": 1}, "the nearest has", 3),
    ({"max_macs": 1}, "raise the limit to that", 3),
    ({"max_macs": 10**20}, "--max-macs must be at most 2**53", 2),
    ({"max_latency_ms": float("nan")}, "max_latency_ms must be above 0 and finite", 2),
    ({"max_latency_ms": -1.0}, "max_latency_ms must be above 0 and finite", 2),
    ({"objective": "acuracy"}, "there is no 'acuracy'; did you mean accuracy?", 2),
    ({"device": "gpu"}, "--device: there is no 'gpu'", 2),
    ({"space": "mbcon"}, "search space: there is no 'mbcon'; did you mean mbconv?", 2),
    ({"space": 7}, "space must be a name or a class, got 7", 2),
    ({"space": int}, "space must be a subclass of SearchSpace, got int", 2),
    ({"space": RandomSearch}, "space must be a subclass of SearchSpace", 2),
    ({"space": Odd}, "space: ", 2),
    ({"strategy": "evolve"}, "strategy: there is no 'evolve'; did you mean evolution?", 2),
    ({"strategy": 7}, "strategy must be a name or a class, got 7", 2),
    ({"estimator": "train"}, "estimator: there is no 'train'; did you mean training?", 2),
    ({"data": "digit"}, "data set: there is no 'digit'; did you mean digits?", 2),
    ({"data": 7}, "data must be the name of a data set, a path, (images, labels), or samples", 2),
    ({"data": np.zeros((3, 8, 8))}, "data must be the name of a data set", 2),
    ({"data": (np.zeros((3, 8, 8)), [0, 1])}, "data: labels must have shape (3,)", 2),
    ({"data": ([["x"]], [0])}, "data: images must have shape", 2),
    ({"settings": {"strtegy": {}}}, "there is no 'strtegy'; did you mean strategy?", 2),
    ({"settings": {"estimator": {"epoch": 1}}}, "did you mean epochs?", 2),
    ({"settings": {"estimator": {"epochs": 1.5}}}, "estimator.epochs must be a whole number", 2),
    ({"settings": {"estimator": {"epochs": True}}}, "estimator.epochs must be a whole number", 2),
    (
        {"settings": {"estimator": {"batch_size": "9"}}},
        "batch_size must be a whole number",
        2,
    ),
    ({"settings": {"estimator": {"epochs": 0}}}, "epochs must be at least 1, got 0", 2),
    ({"settings": {"estimator": {"learning_rate": float("nan")}}}, "must hold plain values", 2),
    ({"settings": {"estimator": {"learning_rate": np.ones(2)}}}, "must hold plain values", 2),
    ({"settings": {"strategy": {"uniform": "x"}}}, "strategy.uniform must be", 2),
    ({"settings": {"space": {"kernel": "3"}}}, "space.kernel must be a whole number, got '3'", 2),
    ({"settings": {"space": {"kernel": 0}}}, "space: ", 2),
]


@pytest.mark.parametrize(("change", "message", "code"), MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(
    mini: type[SearchSpace],
    images: Data,
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
    code: int,
) -> None:
    with pytest.raises(NasError) as caught:
        nas.search(out=tmp_path / "run", **{**small(mini, images), **change})
    assert message in str(caught.value)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert list(tmp_path.iterdir()) == []


def test_workers_elsewhere_have_a_device_that_there_can_be() -> None:
    assert prepare(Configuration(device="cuda"), elsewhere=True).plan.device == "cuda"
    with pytest.raises(NasError, match="--device: there is no 'gpu'") as caught:
        prepare(Configuration(device="gpu"), elsewhere=True)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_an_error_of_the_surroundings(
    mini: type[SearchSpace],
    images: Data,
    tmp_path: Path,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(NasError, match=f"{device} is not available here; have cpu") as caught:
        nas.search(out=tmp_path / "run", **small(mini, images, device=device))
    assert caught.value.exit_code == 5


def test_a_folder_that_holds_something_is_left_alone(
    mini: type[SearchSpace], images: Data, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NasError, match="is not empty") as caught:
        nas.search(out=tmp_path, **small(mini, images))
    assert caught.value.exit_code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_importing_the_package_offers_these_names() -> None:
    assert nas.__all__ == ["AuditSize", "Result", "load", "resume", "search", "train", "transfer"]
    assert all(callable(getattr(nas, name)) for name in nas.__all__)
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        getattr(nas, "ser" + "ch")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["evolution", "random"])
def test_the_limit_that_a_refusal_advises_can_be_met(strategy: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    with pytest.raises(NasError, match="nearest") as refused:
        nas.search(data=data, max_params=5, out=tmp_path / "none")
    found = re.search(r"nearest has ([0-9,]+) parameters", str(refused.value))
    assert found is not None
    result = nas.search(
        data=data,
        max_params=int(found[1].replace(",", "")),
        strategy=strategy,
        budget=1,
        settings={"estimator": {"epochs": 1}},
        out=tmp_path / "run",
    )
    assert result.best.trial.params <= int(found[1].replace(",", ""))
