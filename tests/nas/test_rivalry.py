"""The winner of a search beside the strongest published network: the better one is handed over."""

import copy
import math
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nas
import nas.status
from estimators.estimator import Evaluation, EvaluationError
from estimators.finishing import Finishing
from estimators.full_recipe import FullRecipe
from estimators.training import Training
from nas.engine import SearchFailed
from nas.errors import NasError
from nas.final_training import USED, Contender
from nas.finale import Finale
from nas.journal import Journal, read_events
from nas.progress import Lines
from nas.workers import Failure, InProcessWorkers, Outcome
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.modules import build
from search_spaces.space import SearchSpace
from search_spaces.strict_json import dumps, loads

Data = tuple[np.ndarray, np.ndarray]


def published(width: int) -> Architecture:
    """A network of one layer, wider than those of the space."""
    stem = ConvNormAct(4, stride=2)
    return Architecture("Published", (3, 8, 8), stem, ((ConvNormAct(width),),), Classifier(1000))


# A full training then has 10 epochs, or with a limit on time up to 100.
USUAL_EPOCHS = {"estimator": {"epochs": 1, "batch_size": 16}}

# Parameters, for these images: the more of them, the better a network is below.
FAMILIES = {"One": {"narrow": partial(published, 14), "wide": partial(published, 20)}}
TWO = {**FAMILIES, "Two": {"middling": partial(published, 16)}}


class World:
    """What there is outside a run: published networks, their speed, and what training makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.better = "larger"
        self.fails: set[int] = set()
        self.finished: Counter[int] = Counter()
        self.scored: Counter[int] = Counter()
        self.publish(FAMILIES)
        self.clock = 0.0
        self.extra: dict[int, float] = {}  # to the accuracy of a full training
        self.long = 0.0  # seconds of one
        self.pace = math.inf  # seconds of an epoch of one
        self.peak = 10_000  # parameters of the network that scores best
        monkeypatch.setattr("nas.keeping_limits.network_latency_ms", lambda *_, **__: 0.1)
        monkeypatch.setattr(
            "nas.rivalry.network_latency_ms", lambda graph, **_: graph.params / 1000
        )
        monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
        train = Training.evaluate

        def score(estimator: Training, graph: Graph, **arguments: Any) -> Evaluation:
            self.scored[graph.params] += 1
            if graph.params in self.fails:
                raise EvaluationError("the loss became nan", cause="nan")
            found = train(estimator, graph, **arguments)
            accuracy = 0.5 - abs(graph.params - self.peak) / 1e6
            return replace(found, metrics={**found.metrics, "accuracy": accuracy})

        def finish(_: Finishing, graph: Graph, *, seed: int, **__: Any) -> Evaluation:
            self.finished[graph.params] += 1
            self.clock += self.long
            if graph.params in self.fails:
                raise EvaluationError("the loss became nan", cause="nan")
            torch.manual_seed(seed)
            sign = {"larger": 1, "smaller": -1, "none": 0}[self.better]
            accuracy = 0.99 + sign * graph.params / 1e6 + self.extra.get(graph.params, 0.0)
            metrics = dict.fromkeys(("balanced_accuracy", "macro_f1", "auroc"), accuracy)
            return Evaluation(
                {"accuracy": accuracy, "log_loss": 1.0, **metrics}, build(graph).state_dict()
            )

        monkeypatch.setattr(Training, "evaluate", score)
        monkeypatch.setattr(Finishing, "evaluate", finish)

    def publish(self, families: dict[str, Any]) -> None:
        """Let there be these published networks."""
        names = {name: make for some in families.values() for name, make in some.items()}
        self.patch.setattr("nas.rivals.FAMILIES", families)
        self.patch.setattr("nas.rivals.REFERENCES", names)

    def allot(self, *epochs: int) -> list[float]:
        """Let so many epochs fit into what full trainings are given, one after the other.

        Returns:
            The seconds that each was given, in the end.
        """
        given: list[float] = []

        def affordable(*_: Any, seconds: float, **__: Any) -> int:
            given.append(seconds)
            return epochs[len(given) - 1]

        self._time_by(affordable)
        return given

    def leave_all_the_time(self) -> None:
        """Let all epochs fit that a full training may have."""

        def affordable(*given: Any, **__: Any) -> int:
            recipe = given[2]
            assert isinstance(recipe, FullRecipe)
            return recipe.epochs

        self._time_by(affordable)

    def _time_by(self, affordable: Callable[..., int]) -> None:
        self.patch.setattr("nas.finale.affordable", affordable)
        self.patch.setattr("nas.finale.pace_of", lambda *_, **__: self.pace)
        self.patch.setattr("nas.driving.time.monotonic", lambda: self.clock)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with torch.random.fork_rng():
        yield World(monkeypatch)


@pytest.fixture
def search(
    world: World, mini: type[SearchSpace], images: Data, tmp_path: Path
) -> Callable[..., nas.Result]:
    def run(**options: Any) -> nas.Result:
        settings = {"estimator": {"epochs": 1, "batch_size": 16}, "train": {"epochs": 2}}
        usual: dict[str, Any] = {
            "space": mini,
            "data": images,
            "budget": 2,
            "seed": 1,
            "final_training": "auto",
            "max_latency_ms": 10.0,
            "settings": settings,
            "study": False,
            "workers": 0,
            "out": tmp_path / "run",
        }
        return nas.search(**usual | options)

    return run


def resumed(folder: Path, mini: type[SearchSpace], images: Data, **options: Any) -> nas.Result:
    return nas.resume(folder, space=mini, data=images, study=False, workers=0, **options)


def kinds(folder: Path) -> Counter[str]:
    return Counter(event["event"] for event in read_events(folder / "events.jsonl"))


def summary(folder: Path) -> dict[str, Any]:
    document = loads((folder / "summary.json").read_text())
    assert isinstance(document, dict)
    return document


def test_a_published_network_that_is_better_is_handed_over(
    search: Callable[..., nas.Result], world: World
) -> None:
    result = search()
    assert result.reference is not None
    found, said = result.reference.comparison, summary(result.folder)
    assert found.difference is not None
    assert found.is_reference
    assert (found.reference.name, found.considered) == ("wide", ("wide",))
    assert found.reference.score > found.searched.score
    assert result.handed_over == result.folder / "best"
    exported = load_file(result.folder / "best" / "model.safetensors")
    kept = load_file(result.folder / "trials" / "wide-final.safetensors")
    assert exported.keys() == kept.keys()
    assert all(torch.equal(exported[name], kept[name]) for name in kept)
    best = said["best"]
    assert (best["trial"], best["reference"], best["genotype"]) == (None, "wide", None)
    assert best["params"] == sum(one.numel() for one in result.model.parameters())
    assert best["score"] == found.reference.score
    assert best["test"] == dict(found.reference.test)
    assert best["final_training"] == {"epochs": 2, "score": best["score"], "used": True}
    assert said["searched"]["trial"] == result.best.trial.ordinal
    assert said["comparison"]["handed_over"] == "wide"
    assert (result.folder / "searched" / "model.py").is_file()
    card = (result.folder / "best" / "README.md").read_text()
    assert "wide as published" in card
    lines = [line for line in card.splitlines() if line.startswith(("| Compared", "| Difference"))]
    assert [line.split("|")[1].strip() for line in lines] == [
        "Compared",
        "Compared with",
        "Difference",
    ]
    assert lines[2].endswith(f"to {found.difference[2]:+.4f} |")
    assert "read once by each of the two" in card
    status = nas.status.now(result.folder)
    assert status.winner.startswith("wide: accuracy 0.")


def test_a_winner_that_is_better_is_handed_over_with_the_comparison(
    search: Callable[..., nas.Result], world: World
) -> None:
    world.better = "smaller"
    result = search()
    said = summary(result.folder)
    assert result.reference is not None
    assert not result.reference.comparison.is_reference
    assert said["best"]["trial"] == result.best.trial.ordinal
    assert said["best"]["reference"] is None
    assert said["searched"] is None
    assert said["comparison"]["handed_over"] == f"trial {result.best.trial.ordinal}"
    assert said["comparison"]["reference"]["test"] == dict(result.reference.test.metrics)
    assert not (result.folder / "searched").exists()
    assert "less wide" in (result.folder / "best" / "README.md").read_text()


def test_of_two_that_are_as_good_the_winner_stays(
    search: Callable[..., nas.Result], world: World
) -> None:
    world.better = "none"
    result = search(settings={"estimator": {"epochs": 1}, "train": {"epochs": 2}})
    assert result.reference is not None
    comparison = result.reference.comparison
    assert comparison.searched.score >= comparison.reference.score
    assert summary(result.folder)["best"]["trial"] == result.best.trial.ordinal


def test_both_read_the_test_images_once_and_the_difference_is_theirs(
    search: Callable[..., nas.Result], world: World, images: Data
) -> None:
    result = search()
    reads = [e for e in read_events(result.folder / "events.jsonl") if e["event"] == "test_read"]
    assert [one.get("reference", one.get("ordinal")) for one in reads] == [
        result.best.trial.ordinal,
        "wide",
    ]
    found = summary(result.folder)["comparison"]
    searched, reference = found["searched"]["test"], found["reference"]["test"]
    assert found["accuracy_difference"] == pytest.approx(
        searched["accuracy"] - reference["accuracy"]
    )
    low, high = found["interval"]
    assert -1 <= low < high <= 1


def test_the_largest_of_each_family_are_trained_as_children_and_the_best_to_the_end(
    search: Callable[..., nas.Result], world: World
) -> None:
    world.publish(TWO)
    result = search()
    assert result.reference is not None
    assert result.reference.comparison.considered == ("wide", "middling")
    assert kinds(result.folder)["rival_scored"] == 2
    scored = {
        event["reference"]: event["metrics"]["accuracy"]
        for event in read_events(result.folder / "events.jsonl")
        if event["event"] == "rival_scored"
    }
    assert scored[result.reference.comparison.reference.name] == max(scored.values())
    assert len(world.finished) == 2  # the winner, and one of them


def params_of(width: int) -> int:
    return 4 * 9 + 8 + 4 * width * 9 + 2 * width + 2 * width + 2


def test_one_that_cannot_be_trained_is_passed_over(
    search: Callable[..., nas.Result], world: World
) -> None:
    world.publish(TWO)
    world.fails = {params_of(20)}
    result = search()
    assert world.scored[params_of(20)] == 1
    assert result.reference is not None
    assert result.reference.comparison.reference.name == "middling"


def test_a_published_network_whose_final_training_fails_is_told_and_the_winner_stays(
    search: Callable[..., nas.Result],
    world: World,
    mini: type[SearchSpace],
    images: Data,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.fails = {params_of(20)}
    result = search(progress=Lines())
    assert "wide, final training, 2 epochs failed: nan" in capsys.readouterr().err
    assert result.reference is None
    said = summary(result.folder)
    assert said["comparison"] is None
    assert said["best"]["trial"] == result.best.trial.ordinal
    resumed(result.folder, mini, images)
    assert world.finished[params_of(20)] == 1


def test_where_the_strongest_cannot_be_finished_the_next_one_is(
    search: Callable[..., nas.Result], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(TWO)
    finish = Finishing.evaluate

    def fail(estimator: Finishing, graph: Graph, **arguments: Any) -> Evaluation:
        found = finish(estimator, graph, **arguments)
        if graph.params == params_of(20):
            raise EvaluationError("the loss became nan", cause="nan")
        return found

    monkeypatch.setattr(Finishing, "evaluate", fail)
    result = search()
    assert result.reference is not None
    assert result.reference.comparison.reference.name == "middling"
    assert world.finished[params_of(20)] == world.finished[params_of(16)] == 1


def test_none_slower_than_the_winner_is_in_question_unless_latency_is_limited(
    search: Callable[..., nas.Result], world: World, tmp_path: Path
) -> None:
    result = search(max_latency_ms=None)  # all published ones are larger, so slower here
    assert result.reference is None
    assert kinds(result.folder)["rivals"] == 1
    assert summary(result.folder)["comparison"] is None
    near = search(out=tmp_path / "limited", max_latency_ms=params_of(14) / 1000)
    assert near.reference is not None
    assert near.reference.comparison.considered == ("narrow",)


def test_those_that_are_named_are_compared_though_they_are_slower(
    search: Callable[..., nas.Result], world: World
) -> None:
    result = search(references=["wide", "narrow"], max_latency_ms=None)
    assert result.reference is not None
    assert result.reference.comparison.considered == ("wide", "narrow")


def test_off_compares_with_none(search: Callable[..., nas.Result], world: World) -> None:
    result = search(references="off")
    assert result.reference is None
    assert kinds(result.folder)["rivals"] == 0
    assert len(world.finished) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"references": "wild"}, r"--references: there is no 'wild'; did you mean wide\?"),
        ({"references": "auto", "final_training": "off", "settings": {}}, "--references needs the"),
        (
            {"references": "wide", "objective": ["accuracy", "params"], "final_training": None}
            | {"settings": {}},
            "--references needs the final training",
        ),
        ({"references": "wide", "max_params": 500}, "--references wide must be within the limits"),
        ({"references": []}, "--references must be auto, off, or names"),
        ({"references": 7}, "--references must be auto, off, or names"),
        ({"references": ["wide", 3]}, "--references must be auto, off, or names"),
        ({"references": ["wide", "off"]}, "--references must be auto, off, or names"),
        ({"references": ["wide", ""]}, "--references must be auto, off, or names"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_starts(
    search: Callable[..., nas.Result], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(NasError, match=message) as caught:
        search(**options)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def outcome(folder: Path) -> dict[str, Any]:
    """What a run says in the end, but for seconds and sessions."""
    document = summary(folder)
    return {name: document[name] for name in ("best", "searched", "comparison", "finalists")}


class Killed(BaseException):
    """The process ends here."""


def test_a_run_that_was_killed_anywhere_goes_on_to_the_same_end(
    search: Callable[..., nas.Result],
    world: World,
    mini: type[SearchSpace],
    images: Data,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    world.publish(TWO)
    calm = search().folder
    append, lines = Journal.append, len((calm / "events.jsonl").read_bytes().splitlines())
    first = next(
        number
        for number, event in enumerate(read_events(calm / "events.jsonl"))
        if event["event"] == "rivals"
    )
    for last in range(first, lines - 1):
        folder, count = tmp_path / f"killed-{last}", [0]

        def until(
            journal: Journal, event: str, *, last: int = last, count: list[int] = count, **more: Any
        ) -> None:
            if count[0] == last:
                raise Killed
            count[0] += 1
            append(journal, event, **more)

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", until)
            with pytest.raises(Killed):
                search(out=folder)
        resumed(folder, mini, images)
        assert outcome(folder) == outcome(calm)
        for place in ("best", "searched"):
            for name in ("model.safetensors", "README.md"):
                assert (folder / place / name).read_bytes() == (calm / place / name).read_bytes()
        assert kinds(folder)["final_training"] == 2
        assert kinds(folder)["rival_scored"] == 2


def test_what_there_is_no_time_for_is_left_out_and_done_by_resume(
    search: Callable[..., nas.Result],
    world: World,
    mini: type[SearchSpace],
    images: Data,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("nas.driving.time.monotonic", lambda: world.clock)
    rescored = Lines.rescored

    def late(lines: Lines, finalist: Any) -> None:
        world.clock = 7200.0
        rescored(lines, finalist)

    monkeypatch.setattr(Lines, "rescored", late)
    result = search(progress=Lines(), max_hours=1)
    told = capfd.readouterr().err
    assert "comparison with published networks left out: time limit of 1 h reached" in told
    assert result.reference is None
    again = resumed(result.folder, mini, images)
    assert again.reference is not None
    assert summary(result.folder)["comparison"]["handed_over"] == "wide"
    before = (result.folder / "events.jsonl").read_bytes()
    assert resumed(result.folder, mini, images).reference is not None
    assert (result.folder / "events.jsonl").read_bytes() == before  # it was finished


@pytest.mark.parametrize(("max_hours", "left"), [(None, math.inf), (10.0, 36_000.0)])
def test_time_that_ends_after_the_winner_leaves_the_other_for_resume_with_as_much(
    search: Callable[..., nas.Result],
    world: World,
    mini: type[SearchSpace],
    images: Data,
    max_hours: float | None,
    left: float,
) -> None:
    given = world.allot(1, 0, 1)
    world.long = 1900.0  # more than its half, less than all
    first = search(max_hours=0.5)
    assert first.reference is None
    assert first.winners[0].final_training is not None
    assert first.winners[0].final_training.epochs == 1  # of two
    again = resumed(first.folder, mini, images, max_hours=max_hours)
    assert given == [pytest.approx(900), pytest.approx(900), pytest.approx(left)]
    assert again.reference is not None
    assert again.reference.comparison.reference.epochs == 1  # one at least
    card = (first.folder / "searched" / "README.md").read_text()
    assert "less wide" in card


def test_the_time_is_shared_between_winner_and_published_network(
    search: Callable[..., nas.Result], world: World
) -> None:
    given = world.allot(1, 1)
    world.long = 1000.0
    result = search(max_hours=1)
    assert given == [pytest.approx(1800), pytest.approx(1800)]
    events = [e for e in read_events(result.folder / "events.jsonl") if e["event"] == "finishing"]
    assert [one["epochs"] for one in events] == [1, 1]
    assert (events[1]["reference"], events[1]["precision"]) == ("wide", "float32")


def test_the_winner_has_the_time_that_the_published_network_has_no_need_of(
    search: Callable[..., nas.Result], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch of the winner takes 2,000 s, of the other 380; to measure it 10 s."""
    paces = {params_of(20): 380.0}

    def pace_of(contender: Contender, *_: Any) -> float:
        world.clock += 10.0
        return paces.get(contender.graph.params, 2000.0)

    def affordable(contender: Contender, *_: Any, seconds: float) -> int:
        pace = pace_of(contender)
        epochs = min(2, int(USED * (seconds - 10) / pace))
        world.long = USED * (seconds - 10) if epochs == 1 else epochs * pace  # as long as it may
        return epochs

    monkeypatch.setattr("nas.finale.affordable", affordable)
    monkeypatch.setattr("nas.finale.pace_of", pace_of)
    monkeypatch.setattr("nas.driving.time.monotonic", lambda: world.clock)
    first = search(max_hours=1)
    assert first.reference is not None
    found = first.reference.comparison
    assert (found.searched.epochs, found.reference.epochs) == (1, 2)
    (event,) = (e for e in read_events(first.folder / "events.jsonl") if "allotted" in e)
    assert event["allotted"] == pytest.approx(3600 - 2 * 10 - 3 * 380 / USED)


def test_a_published_network_has_as_many_epochs_as_a_winner_that_was_not_cut(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    """All 100 epochs that there may be fit into the winner's time, where 10 are usual."""
    given = world.allot(100, 0)
    first = search(max_hours=1, settings=USUAL_EPOCHS)
    assert len(given) == 2
    assert first.reference is None
    again = resumed(first.folder, mini, images).reference
    assert again is not None
    assert (again.comparison.searched.epochs, again.comparison.reference.epochs) == (100, 100)
    assert len(given) == 2  # nothing was timed without a limit


def test_a_published_network_has_no_more_epochs_than_a_winner_that_had_no_limit(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    folder = search(settings=USUAL_EPOCHS).folder
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    done = next(at for at, line in enumerate(lines) if b'"final_training"' in line)
    (folder / "events.jsonl").write_bytes(b"".join(lines[: done + 1]))
    (folder / "summary.json").unlink()
    world.leave_all_the_time()
    again = resumed(folder, mini, images, max_hours=1).reference
    assert again is not None
    assert (again.comparison.searched.epochs, again.comparison.reference.epochs) == (10, 10)


@pytest.mark.parametrize("published_later", [FAMILIES, TWO], ids=["the same", "another"])
def test_another_winner_has_no_more_epochs_than_the_published_network_had(
    search: Callable[..., nas.Result],
    world: World,
    mini: type[SearchSpace],
    images: Data,
    published_later: dict[str, Any],
) -> None:
    world.peak = 400
    first = search(settings=USUAL_EPOCHS)
    world.leave_all_the_time()
    world.publish(published_later)
    again = resumed(first.folder, mini, images, budget=8, max_hours=1)
    assert again.best.trial.ordinal != first.best.trial.ordinal
    assert again.reference is not None
    found = again.reference.comparison
    assert (found.searched.epochs, found.reference.epochs) == (10, 10)


def test_a_winner_that_was_cut_to_as_many_epochs_as_are_usual_was_cut(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    given = world.allot(10, 2)
    world.long = 1900.0  # more than its half, less than all
    first = search(max_hours=0.5, settings=USUAL_EPOCHS)
    assert first.reference is None
    resumed(first.folder, mini, images)
    assert given == [pytest.approx(900), pytest.approx(900)]


def test_a_published_network_that_cannot_be_timed_has_its_half(
    search: Callable[..., nas.Result], world: World
) -> None:
    given = world.allot(1, 1)
    world.pace = 0.0
    search(max_hours=1)
    assert given[0] == pytest.approx(1800)


@pytest.mark.parametrize("pace", [0.1, 0.55, 3.0])
def test_networks_that_were_cut_are_not_trained_again_however_fast_they_are(
    search: Callable[..., nas.Result],
    world: World,
    mini: type[SearchSpace],
    images: Data,
    monkeypatch: pytest.MonkeyPatch,
    pace: float,
) -> None:
    """The winner needs 2,000 s for an epoch; the published network so many times that."""

    def affordable(contender: Contender, *_: Any, seconds: float) -> int:
        of = 2000.0 * (pace if contender.graph.params == params_of(20) else 1.0)
        world.long = of
        return int(min(2, seconds / of))

    monkeypatch.setattr("nas.finale.affordable", affordable)
    monkeypatch.setattr("nas.finale.pace_of", lambda *_, **__: 2000.0 * pace)
    monkeypatch.setattr("nas.driving.time.monotonic", lambda: world.clock)
    first = search(max_hours=1.2)
    epochs = {0.1: 2, 0.55: 1, 3.0: 1}[pace]
    said, before = first.reference, (first.folder / "events.jsonl").read_bytes()
    if pace == 3.0:  # there was no time for an epoch of it; now there is, and it has one
        assert said is None
        said = resumed(first.folder, mini, images).reference
        before = (first.folder / "events.jsonl").read_bytes()
    assert said is not None
    assert (said.comparison.searched.epochs, said.comparison.reference.epochs) == (1, epochs)
    resumed(first.folder, mini, images)
    assert (first.folder / "events.jsonl").read_bytes() == before
    assert set(world.finished.values()) == {1}


def test_a_winner_has_all_the_time_where_the_published_network_is_trained(
    search: Callable[..., nas.Result],
    world: World,
    mini: type[SearchSpace],
    images: Data,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world.peak = 400
    folder = search().folder
    given = world.allot(2)
    monkeypatch.setattr("nas.rivalry.Rivalry.is_met", True)  # so that none are sought
    resumed(folder, mini, images, budget=8, max_hours=1)
    assert given == [pytest.approx(3600)]


def test_an_extension_keeps_what_was_trained_and_tidies_up(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    world.peak = 400
    folder = search().folder
    before = summary(folder)["searched"]["trial"]
    assert (folder / "searched").is_dir()
    world.better = "smaller"
    world.extra = dict.fromkeys(range(params_of(14)), 0.005)
    result = resumed(folder, mini, images, budget=8)
    assert world.finished[params_of(20)] == 1
    assert result.best.trial.ordinal != before
    assert result.reference is not None
    assert not result.reference.comparison.is_reference
    assert not (folder / "searched").exists()
    card = (folder / "best" / "README.md").read_text()
    assert f"trial {result.best.trial.ordinal} less wide" in card


def test_the_card_of_what_was_handed_over_names_the_latest_winner(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    world.peak = 400
    folder = search().folder
    before = summary(folder)["searched"]["trial"]
    result = resumed(folder, mini, images, budget=8)
    assert result.best.trial.ordinal != before
    assert result.reference is not None
    assert result.reference.comparison.is_reference
    name = f"trial {result.best.trial.ordinal} less wide"
    for place in ("best", "searched"):
        assert name in (folder / place / "README.md").read_text()


def test_an_extension_without_time_keeps_what_the_comparison_needs(
    search: Callable[..., nas.Result],
    world: World,
    mini: type[SearchSpace],
    images: Data,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world.peak = 400
    folder = search().folder
    before = summary(folder)["searched"]["trial"]
    with monkeypatch.context() as patch:
        patch.setattr(Finale, "_meet", lambda *_: None)  # no time
        patch.setattr(Finale, "_finish", lambda *_, **__: False)
        between = resumed(folder, mini, images, budget=8)
    assert between.best.trial.ordinal != before
    assert between.reference is None
    assert (folder / "trials" / "wide-final.safetensors").is_file()
    assert resumed(folder, mini, images).reference is not None
    assert world.finished[params_of(20)] == 1


def test_a_folder_that_is_gone_is_written_again_and_costs_no_time(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    result = search()
    shutil.rmtree(result.folder / "searched")
    again = resumed(result.folder, mini, images)
    assert (result.folder / "searched" / "model.py").is_file()
    assert again.seconds >= result.seconds


def test_an_extension_that_fails_leaves_what_was_said_before(
    search: Callable[..., nas.Result],
    world: World,
    mini: type[SearchSpace],
    images: Data,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = search().folder
    before = summary(folder)

    def fail(*_: Any, **__: Any) -> None:
        raise SearchFailed("too many children failed")

    monkeypatch.setattr("nas.driving.Driver.drive", fail)
    with pytest.raises(NasError, match="no architecture found"):
        resumed(folder, mini, images, budget=8)
    after = summary(folder)
    for name in ("best", "searched", "comparison", "finalists"):
        assert after[name] == before[name]


def test_a_winner_that_is_a_published_network_is_not_compared_with_itself(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    space = mini((1, 8, 8), 2)

    def same(number: int) -> Architecture:
        return space.architecture(space.genome.unrank(number))

    everything = {f"same_{number}": partial(same, number) for number in range(0, 12, 2)}
    world.publish({"Same": everything})
    result = search(references=list(everything), max_latency_ms=None)
    assert result.reference is not None
    considered = result.reference.comparison.considered
    assert len(considered) == 5
    graphs = {name: lower(make()) for name, make in everything.items()}
    assert all(digest(graphs[name]) != result.best.child.digest for name in considered)


class Unreliable(InProcessWorkers):
    """Loses the jobs of some published networks."""

    lost: frozenset[int] = frozenset()  # keys of the jobs

    def wait(self, timeout: float) -> Outcome | None:
        outcome = super().wait(timeout)
        if outcome is not None and outcome.key in self.lost:
            return replace(outcome, result=Failure("worker_died", "it was killed", ""))
        return outcome


@pytest.fixture
def lose(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Two published networks; loses the first training of some, by their number."""
    world.publish(TWO)
    monkeypatch.setattr("nas.execution.InProcessWorkers", Unreliable)
    score = Finale._score
    keys = frozenset[int]()

    def lose(*lost: int) -> None:
        nonlocal keys
        keys = frozenset(lost)

    def scored(finale: Finale, *arguments: Any) -> None:
        Unreliable.lost = keys
        try:
            score(finale, *arguments)
        finally:
            Unreliable.lost = frozenset()

    monkeypatch.setattr(Finale, "_score", scored)
    yield lose
    Unreliable.lost = frozenset()


def test_one_whose_worker_dies_again_and_again_is_passed_over_and_told(
    search: Callable[..., nas.Result],
    lose: Callable[..., None],
    mini: type[SearchSpace],
    images: Data,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lose(0)
    result = search(progress=Lines())
    assert "wide, a published network failed: worker_died" in capsys.readouterr().err
    assert result.reference is not None
    assert result.reference.trained.name == "middling"
    before = (result.folder / "events.jsonl").read_bytes()
    resumed(result.folder, mini, images)
    assert (result.folder / "events.jsonl").read_bytes() == before


def test_where_all_workers_died_the_comparison_is_left_to_the_next_session(
    search: Callable[..., nas.Result],
    lose: Callable[..., None],
    mini: type[SearchSpace],
    images: Data,
    capfd: pytest.CaptureFixture[str],
) -> None:
    lose(0, 1)
    result = search(progress=Lines())
    said = capfd.readouterr().err
    assert "left out: their workers were lost; nas resume does it" in said
    assert result.reference is None
    lose()
    again = resumed(result.folder, mini, images)
    assert again.reference is not None
    assert again.reference.trained.name == "wide"


def test_a_journal_that_names_no_published_network_is_damaged(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    folder = search().folder
    events = folder / "events.jsonl"
    text = events.read_text()
    for old, new in (
        ('"reference":"wide"', '"reference":"wild"'),
        ('"reference":"wide"', '"reference":"../wide"'),
        ('"reference":"wide"', '"reference":"narrow"'),  # another network under that name
        ('"reference":"wide"', '"reference":null'),
        ('"hits":"', '"hits":"a'),
        ('"latency_ms":', '"latency_ms":-'),
    ):
        assert old in text
        events.write_text(text.replace(old, new))
        with pytest.raises(NasError, match=r"^journal: ") as caught:
            resumed(folder, mini, images)
        assert caught.value.exit_code == 4


def test_a_journal_with_a_training_without_a_score_or_a_network_twice_is_damaged(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    folder = search().folder
    events = [loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    (folder / "summary.json").unlink()

    def written(change: Callable[[dict[str, Any]], None]) -> None:
        changed = copy.deepcopy(events)
        for event in changed:
            change(event)
        text = "".join(dumps(event) + "\n" for event in changed)
        (folder / "events.jsonl").write_text(text)

    def no_score(event: dict[str, Any]) -> None:
        if event.get("event") == "final_training" and event.get("reference"):
            event["metrics"] = {}

    def twice(event: dict[str, Any]) -> None:
        if event.get("event") == "rivals":
            event["networks"] *= 2

    for change, message in ((no_score, "has no accuracy"), (twice, "each reference once")):
        written(change)
        with pytest.raises(NasError, match=message) as caught:
            resumed(folder, mini, images)
        assert caught.value.exit_code == 4


def test_a_run_of_before_that_knew_no_published_networks_is_finished_and_stays_so(
    search: Callable[..., nas.Result], world: World, mini: type[SearchSpace], images: Data
) -> None:
    folder = search(references="off").folder
    run = loads((folder / "run.json").read_text())
    del run["references"]
    (folder / "run.json").write_text(dumps(run))
    events = folder / "events.jsonl"
    old = re.sub(r',"(place|hits|compared)":"[^"]*"', "", events.read_text())
    assert not any(name in old for name in ("place", "hits", "compared", "reference"))
    events.write_text(old)
    result = resumed(folder, mini, images)
    assert events.read_text() == old
    assert result.reference is None
    assert result.handed_over == folder / "best"
