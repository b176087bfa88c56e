"""The winner is trained to the end: once, whatever interrupts it, and never for the worse."""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nas
from estimators import finishing
from estimators.data import ImageData, Split, from_arrays
from estimators.estimator import Evaluation, EvaluationError
from estimators.finishing import Finishing
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from estimators.snapshot import Epoch
from estimators.task import Classification, Task
from estimators.training import Training
from nas.configuration import Configuration
from nas.errors import NasError
from nas.execution import Execution
from nas.final_recipe import most_epochs, recipe_after
from nas.final_training import USED, Contender, FinalTraining, checkpoint_of
from nas.journal import Journal, read_events
from nas.preparation import prepare
from nas.progress import Lines
from nas.readings import FULL
from nas.run_folder import AuditSize
from nas.workers import Failure, Outcome
from search_spaces.architecture import lower
from search_spaces.graph import Graph
from search_spaces.reference import REFERENCES
from search_spaces.space import SearchSpace
from search_spaces.strict_json import loads

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the fresh process of the export, which takes seconds."""
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)


@pytest.fixture
def options(mini: type[SearchSpace], images: Data) -> dict[str, Any]:
    return {"space": mini, "data": images, "study": False, "workers": 0}


def search(folder: Path, options: dict[str, Any], **train: Any) -> nas.Result:
    settings = {"estimator": {"epochs": 2, "batch_size": 16}, "train": {"epochs": 4, **train}}
    trained = {"final_training": "auto", "references": "off"}
    return nas.search(out=folder, budget=2, seed=1, settings=settings, **trained, **options)


def kinds(folder: Path) -> Counter[str]:
    return Counter(event["event"] for event in read_events(folder / "events.jsonl"))


def best(folder: Path) -> Any:
    return loads((folder / "summary.json").read_text())["best"]


def test_the_winner_is_trained_to_the_end_and_read_once(
    options: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    result = search(folder, options)
    assert kinds(folder)["final_training"] == kinds(folder)["test_read"] == 1
    (event,) = (e for e in read_events(folder / "events.jsonl") if e["event"] == "final_training")
    assert event["ordinal"] == result.best.trial.ordinal
    assert (event["recipe"]["epochs"], event["fidelity"]) == (4, 1.0)
    told = best(folder)["final_training"]
    assert told == {"epochs": 4, "score": event["metrics"]["accuracy"], "used": told["used"]}
    exported = load_file(folder / "best" / "model.safetensors")
    assert result.best.weights is not None
    kept = load_file(folder / result.best.weights.file)
    assert all(torch.equal(exported[name], value) for name, value in kept.items())
    assert told["used"] == (result.best.weights.file == event["weights"]["file"])
    assert told["used"] == (told["score"] >= max(result.best.scores))
    card = (folder / "best" / "README.md").read_text()
    assert "of the final training" in card
    assert not list((folder / "trials").glob("*.checkpoint"))


def test_weights_that_are_worse_are_not_used(options: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = search(folder, options, learning_rate=1e-9)
    told = best(folder)["final_training"]
    assert told["score"] < max(result.best.scores)  # it is as good as untrained
    assert not told["used"]
    exported = load_file(folder / "best" / "model.safetensors")
    assert result.best.weights is not None
    kept = load_file(folder / result.best.weights.file)
    assert all(torch.equal(exported[name], value) for name, value in kept.items())
    assert "not used" in (folder / "best" / "README.md").read_text()


def test_a_final_training_that_fails_leaves_the_weights_as_they_were_and_is_told(
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def evaluate(*_: Any, **__: Any) -> Evaluation:
        raise EvaluationError("the loss became nan", cause="nan")

    monkeypatch.setattr(Finishing, "evaluate", evaluate)
    folder = tmp_path / "run"
    search(folder, {**options, "progress": Lines()})
    told = capsys.readouterr().err
    assert re.search(r"trial \d+, final training, 4 epochs failed: nan: .*became nan\n    ", told)
    assert best(folder)["final_training"] == {"epochs": 4, "score": None, "used": False}
    nas.resume(folder, **options)
    assert kinds(folder)["final_training"] == 1


def test_the_weights_it_was_chosen_by_are_needed_only_if_there_are_any(
    options: dict[str, Any], cheap: type, tmp_path: Path
) -> None:
    settings = {"train": {"epochs": 2, "learning_rate": 1e-9}}
    options = {**options, "estimator": cheap, "settings": settings}
    nas.search(out=tmp_path / "run", budget=1, seed=1, final_training="auto", **options)
    told = best(tmp_path / "run")["final_training"]
    assert (told["epochs"], told["used"]) == (2, True)
    assert kinds(tmp_path / "run")["final_training"] == 1


def test_a_full_training_that_fails_is_known_beside_the_short_one(
    options: dict[str, Any], cheap: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*_: Any, **__: Any) -> Evaluation:
        raise EvaluationError("the loss became nan", cause="nan")

    monkeypatch.setattr(Finishing, "evaluate", evaluate)
    options = {**options, "estimator": cheap}
    nas.search(out=tmp_path / "run", budget=1, seed=1, final_training="auto", **options)
    assert kinds(tmp_path / "run")["final_training"] == 2
    nas.resume(tmp_path / "run", **options)
    assert kinds(tmp_path / "run")["final_training"] == 2


def test_a_run_that_was_killed_goes_on_to_the_same_end(
    options: dict[str, Any], tmp_path: Path
) -> None:
    calm = search(tmp_path / "calm", options)
    lines = (tmp_path / "calm" / "events.jsonl").read_bytes().splitlines(keepends=True)
    place = next(at for at, line in enumerate(lines) if b'"final_training"' in line)
    for count, trainings in ((place, 1), (place + 1, 0), (place + 2, 0)):
        folder = tmp_path / f"cut-{count}"
        shutil.copytree(tmp_path / "calm", folder)
        (folder / "events.jsonl").write_bytes(b"".join(lines[:count]))
        (folder / "summary.json").unlink()
        before = kinds(folder)["final_training"]
        again = nas.resume(folder, **options)
        assert kinds(folder)["final_training"] - before == trainings
        assert kinds(folder)["test_read"] == 1
        assert again.test == calm.test
        assert best(folder) == best(tmp_path / "calm")


def test_off_leaves_it_out_and_options_without_it_are_refused(
    options: dict[str, Any], tmp_path: Path
) -> None:
    nas.search(out=tmp_path / "run", budget=1, final_training="off", **options)
    assert kinds(tmp_path / "run")["final_training"] == 0
    assert best(tmp_path / "run")["final_training"] is None
    train = {"train": {"epochs": 3}}
    for changes, message in (
        ({"final_training": "off", "settings": train}, "there is no final training"),
        ({"objective": ("accuracy", "params"), "settings": train}, "there is no final training"),
        (
            {"objective": ("accuracy", "params"), "final_training": "auto"},
            "must be off with several",
        ),
        (
            {"final_training": "auto", "settings": {"train": {"merge_validation": True}}},
            "train.merge_validation must be off",
        ),
        ({"final_training": "on"}, "--final-training must be auto or off"),
        ({"final_training": "auto", "settings": {"train": {"epoch": 3}}}, "train.epoch"),
        ({"final_training": "auto", "settings": {"train": {"epochs": 0}}}, "epochs must be from 1"),
    ):
        with pytest.raises(NasError, match=message) as caught:
            nas.search(out=tmp_path / "other", budget=1, **options, **changes)  # type: ignore[arg-type]
        assert caught.value.exit_code == 2
        assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("searched", "child_epochs", "epochs"), [(12, 3, 30), (100, 3, 75), (50, 3, 38), (0, 1, 10)]
)
def test_it_takes_a_quarter_of_the_search_or_ten_times_a_child(
    images: Data, searched: float, child_epochs: int, epochs: int
) -> None:
    options = {"label_smoothing": 0.2}
    data = from_arrays(*images)
    recipe = recipe_after(
        data, child_epochs=child_epochs, child_images=0, searched=searched, options=options
    )
    assert (recipe.epochs, recipe.label_smoothing) == (epochs, 0.2)


def of_size(count: int) -> ImageData:
    """So many images without contents."""
    split = Split(torch.zeros(1, 1, 2, 2).expand(count, 1, 2, 2), torch.zeros(count).long())
    return ImageData("some", split, split, split, ("a",), (0.0,), (1.0,), "0")


@pytest.mark.parametrize(
    ("count", "searched", "epochs"),
    [(30_000, 12, 30), (51_000, 12, 19), (51_000, 1000, 148), (2_000_000, 12, 1)],
)
def test_on_large_sets_images_count(count: int, searched: float, epochs: int) -> None:
    given = {"child_epochs": 3, "child_images": 10_000, "searched": searched, "options": {}}
    assert recipe_after(of_size(count), **given).epochs == epochs  # type: ignore[arg-type]


# A limit on time --------------------------------------------------------------------------------


def test_a_time_limit_leaves_as_many_epochs_as_fit(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FullTraining, "seconds_per_pass", lambda self: 880.0)
    folder = tmp_path / "run"
    search(folder, {**options, "max_hours": 1.0})  # 0.95 * 3600 s
    assert best(folder)["final_training"]["epochs"] == 3
    assert kinds(folder)["finishing"] == 1
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    place = next(at for at, line in enumerate(lines) if b'"final_training"' in line)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:place]))
    (folder / "summary.json").unlink()
    nas.resume(folder, **options)  # without a limit: what was begun is kept
    assert best(folder)["final_training"]["epochs"] == 3


@pytest.mark.parametrize(("final", "trained"), [("auto", 2), ("off", 3)])
def test_the_second_half_of_limited_time_is_for_the_winner(
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    final: str,
    trained: int,
) -> None:
    now, evaluate = [0.0], Training.evaluate

    def third_of_an_hour(self: Training, *arguments: Any, **more: Any) -> Evaluation:
        now[0] += 1200.0 if now[0] < 1200.0 * trained else 0.0  # fresh scores take no time
        return evaluate(self, *arguments, **more)

    monkeypatch.setattr("nas.session.time.monotonic", lambda: now[0])
    monkeypatch.setattr(Training, "evaluate", third_of_an_hour)
    monkeypatch.setattr(FullTraining, "seconds_per_pass", lambda self: 300.0)
    folder, wanted = tmp_path / "run", {**options, "strategy": "random", "final_training": final}
    settings = {"estimator": {"epochs": 1, "batch_size": 16}}
    if final == "auto":
        settings["train"] = {"epochs": 4}
    short = nas.search(out=folder, budget=4, max_hours=1.0, settings=settings, **wanted)
    assert len(short.trials) == trained
    end = {"auto": ": the rest is for the winner", "off": " reached"}[final]
    assert short.ended == "time limit of 1 h" + end
    told = best(folder)["final_training"]
    assert (None if told is None else told["epochs"]) == {"auto": 3, "off": None}[final]
    assert sum(trial.of is None for trial in nas.resume(folder, **options).trials) == 4


def test_time_that_was_over_before_a_child_was_started_is_not_kept_for_the_winner(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, now = tmp_path / "run", [0.0]
    search(folder, options)
    monkeypatch.setattr("nas.session.time.monotonic", lambda: now[0])
    monkeypatch.setattr("nas.session.Session._pretrain", lambda self: now.insert(0, 4000.0))
    longer = nas.resume(folder, budget=4, max_hours=1.0, **options)
    assert longer.ended == "time limit of 1 h reached"
    assert sum(trial.of is None for trial in longer.trials) == 2


def test_a_final_training_that_was_begun_is_not_cut(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    search(folder, options)
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    place = next(at for at, line in enumerate(lines) if b'"final_training"' in line)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:place]))
    (folder / "summary.json").unlink()
    ordinal = loads(lines[place])["ordinal"]
    checkpoint_of(folder, ordinal).write_bytes(b"of some epochs")
    monkeypatch.setattr(FullTraining, "seconds_per_pass", lambda self: 880.0)
    nas.resume(folder, **options, max_hours=1.0)
    assert best(folder)["final_training"]["epochs"] == 4
    assert kinds(folder)["finishing"] == 0


def faster(graph: Graph, data: ImageData, task: Task, recipe: FullRecipe, **_: Any) -> FullRecipe:
    """In place of ``in_faster_precision``."""
    return replace(recipe, precision="bfloat16")


def test_the_winner_is_trained_in_the_precision_that_is_faster_for_it_and_timed_once(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.finale.in_faster_precision", faster)
    folder = tmp_path / "run"
    search(folder, options)
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (event,) = (e for e in read_events(folder / "events.jsonl") if e["event"] == "finishing")
    assert (event["epochs"], event["precision"], "allotted" in event) == (4, "bfloat16", False)
    weights = load_file(folder / "best" / "model.safetensors")
    place = next(at for at, line in enumerate(lines) if b'"final_training"' in line)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:place]))
    (folder / "summary.json").unlink()
    monkeypatch.setattr("nas.finale.in_faster_precision", None)
    nas.resume(folder, **options)
    again = load_file(folder / "best" / "model.safetensors")
    assert all(torch.equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize("asked", ["estimator", "train"])
def test_a_precision_that_is_asked_for_leaves_nothing_to_timing(
    asked: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.finale.in_faster_precision", faster)
    settings = {"estimator": {"epochs": 2, "batch_size": 16}, "train": {"epochs": 4}}
    settings[asked]["precision"] = "float32"
    more = {"final_training": "auto", "references": "off", "settings": settings}
    nas.search(out=tmp_path / "run", budget=2, seed=1, **more, **options)
    assert kinds(tmp_path / "run")["finishing"] == 0


def test_time_that_is_plenty_keeps_the_epochs_asked_for_and_too_little_leaves_them_out(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(tmp_path / "long", {**options, "max_hours": 1.0})
    assert best(tmp_path / "long")["final_training"]["epochs"] == 4
    assert kinds(tmp_path / "long")["finishing"] == 0
    monkeypatch.setattr(FullTraining, "seconds_per_pass", lambda self: 4000.0)
    search(tmp_path / "short", {**options, "max_hours": 1.0})
    assert best(tmp_path / "short")["final_training"] is None
    nas.resume(tmp_path / "short", **options)
    assert best(tmp_path / "short") == best(tmp_path / "long")


def test_time_that_is_plenty_is_for_more_epochs_than_are_usual(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FullTraining, "seconds_per_pass", lambda self: 100.0)
    monkeypatch.setattr("nas.session.time.monotonic", lambda: 0.0)
    given = {"estimator": {"epochs": 1, "batch_size": 16}}
    trained = {"final_training": "auto", "references": "off", "settings": given, **options}
    for name, hours in (("free", None), ("limited", 1.0)):
        nas.search(out=tmp_path / name, budget=2, seed=1, max_hours=hours, **trained)
    assert best(tmp_path / "free")["final_training"]["epochs"] == 10
    assert best(tmp_path / "limited")["final_training"]["epochs"] == int(USED * 3600 / 100)


@pytest.mark.parametrize(
    ("count", "usual", "wanted", "most"),
    [
        (60, 30, Configuration(), 100),
        (60, 120, Configuration(), 120),
        (51_000, 19, Configuration(), 58),
        (60, 30, Configuration(settings={"train": {"epochs": 30}}), 30),
        (60, 30, Configuration(settings={"train": {"mixup": 0.5}}), 100),
        (60, 30, Configuration(audit=AuditSize()), 30),  # which needs the time
    ],
)
def test_the_most_epochs_are_those_of_a_training_by_itself(
    count: int, usual: int, wanted: Configuration, most: int
) -> None:
    assert most_epochs(FullRecipe(epochs=usual), of_size(count), wanted) == most


def test_a_final_training_has_as_many_threads_as_there_were_workers(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.execution.cpus", lambda: 3)
    assert Execution().cpus(elsewhere=True) == 1
    for workers, threads in ((None, 3), (2, 2), (8, 3), (0, 1)):
        assert Execution(workers=workers).cpus() == threads
    configuration = Configuration(
        space=options["space"], data=options["data"], final_training="auto"
    )
    for pixels, threads in ((0, 3), (10**9, 1)):
        monkeypatch.setattr("estimators.full_recipe.THREADED", pixels)
        recipe = prepare(configuration, cpus=3).recipe
        assert recipe is not None
        assert recipe.threads == threads
    search(tmp_path / "run", options)
    assert "threads" not in loads((tmp_path / "run" / "run.json").read_text())["derived"]["train"]


# Where it stands --------------------------------------------------------------------------------


@pytest.fixture
def finish(images: Data, mini: type[SearchSpace], tmp_path: Path) -> Callable[[], Evaluation]:
    """Trains a small network to the end, with a checkpoint."""
    data: ImageData = from_arrays(*images)
    space = mini(data.input_shape, 2)
    graph = lower(space.architecture(space.genome.unrank(3)))

    def run() -> Evaluation:
        estimator = Finishing(FullRecipe(epochs=6, batch_size=16), tmp_path / "x.checkpoint")
        estimator.prepare(data, Classification(2))
        return estimator.evaluate(graph, fidelity=1.0, seed=3, device="cpu")

    return run


def trained(monkeypatch: pytest.MonkeyPatch, *, until: int | None) -> list[int]:
    """The epochs that are trained; the process dies after one of them."""
    seen: list[int] = []
    passes = FullTraining.passes

    def watched(self: FullTraining) -> Iterator[Epoch]:
        for line in passes(self):
            seen.append(line.epoch)
            yield line
            if line.epoch == until:
                raise KeyboardInterrupt

    monkeypatch.setattr(FullTraining, "passes", watched)
    return seen


@pytest.mark.parametrize(("cause", "stays"), [("worker_died", True), ("nan", False)])
def test_what_a_lost_worker_had_reached_is_kept(cause: str, *, stays: bool, tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    graph = lower(REFERENCES["resnet20"]())
    place = checkpoint_of(tmp_path, 7)
    place.write_bytes(b"of some epochs")
    with Journal(tmp_path / "events.jsonl") as journal:
        stage = FinalTraining(
            Contender(7, graph, 1), recipe={"epochs": 9}, journal=journal, folder=tmp_path
        )
        while not stage.over:
            assert stage.next_job() is not None
            stage.settle(Outcome(0, Failure(cause, "it was killed", ""), 1.0))
    assert stage.failure is not None
    assert place.exists() == stays


def test_it_goes_on_from_its_checkpoint_to_the_same_weights(
    finish: Callable[[], Evaluation], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calm = finish()
    monkeypatch.setattr(finishing, "WRITE_EVERY", 0.0)
    with monkeypatch.context() as patch:
        assert trained(patch, until=2) == []
        with pytest.raises(KeyboardInterrupt):
            finish()
    seen = trained(monkeypatch, until=None)
    again = finish()
    assert seen == [3, 4, 5, 6]
    assert again.metrics == calm.metrics
    assert calm.weights is not None
    assert again.weights is not None
    assert all(torch.equal(again.weights[name], value) for name, value in calm.weights.items())


def test_a_checkpoint_is_on_the_disk_before_its_name_and_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, synced = tmp_path / "checkpoint", list[bool]()
    writer = Finishing(FullRecipe(epochs=1), place)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(place.exists()))
    writer._write(b"one")
    assert (place.read_bytes(), synced) == (b"one", [False])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    writer._write(b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert place.read_bytes() == b"one"


@pytest.mark.parametrize("damage", [b"", b"x" * 100, None])
def test_a_checkpoint_that_cannot_be_used_is_left_aside(
    finish: Callable[[], Evaluation],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    damage: bytes | None,
) -> None:
    path = tmp_path / "x.checkpoint"
    if damage is None:
        path.mkdir()
    else:
        path.write_bytes(damage)
    seen = trained(monkeypatch, until=None)
    finish()
    assert seen == [1, 2, 3, 4, 5, 6]


def test_the_record_knows_a_full_training_by_its_recipe(tmp_path: Path, images: Data) -> None:
    estimator = Finishing(FullRecipe(epochs=1), tmp_path / "x.checkpoint")
    estimator.prepare(from_arrays(*images), Classification(2))
    assert estimator.recipe["estimator"] == FULL


def test_the_winner_is_trained_by_the_factors_of_the_search_unless_told_otherwise() -> None:
    settings = {"estimator": {"dense_rate_factor": 2.0, "fractal_rate_factor": 0.5}}
    options: dict[str, Any] = {"space": "mixed", "budget": 2, "final_training": "auto"}
    recipe = prepare(Configuration(**options, settings=settings)).recipe
    assert recipe is not None
    assert (recipe.dense_rate_factor, recipe.fractal_rate_factor) == (2.0, 0.5)
    assert recipe.mbconv_rate_factor == 1.0
    told = {**settings, "train": {"dense_rate_factor": 1.0}}
    recipe = prepare(Configuration(**options, settings=told)).recipe
    assert recipe is not None
    assert (recipe.dense_rate_factor, recipe.fractal_rate_factor) == (1.0, 0.5)
