"""Going on with runs, however they ended: nothing lost, nothing done twice."""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import nas
from estimators.data import ImageData
from estimators.estimator import Checkpoint, Estimator, Evaluation, EvaluationError, Report
from estimators.task import Task
from nas import status
from nas.errors import NasError
from nas.interrupts import Interrupted
from nas.journal import Journal, read_events
from nas.lock import RunLock
from nas.run_folder import read_record
from nas.session import opened
from search_spaces.genome import Genotype
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.space import SearchSpace
from search_spaces.strict_json import loads
from strategies.strategy import Proposal, Strategy

Data = tuple[np.ndarray, np.ndarray]

pytestmark = pytest.mark.usefixtures("unchecked")


class Scored(Estimator):
    """Trains nothing, and leaves weights of its seed; larger networks are better."""

    calls: ClassVar[Counter[int]] = Counter()

    def prepare(self, data: ImageData, task: Task) -> None:
        pass

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        return {"estimator": "scored"}

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
        self.calls[seed] += 1
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            weights = build(graph).state_dict()
        accuracy = graph.params / 10_000 + seed / 2**31 / 100
        return Evaluation({"accuracy": accuracy, "log_loss": 1 - accuracy}, weights)


class Broken(Scored):
    """Scores nothing, with the recipe of the one that does."""

    def evaluate(self, graph: Graph, **arguments: Any) -> Evaluation:
        raise EvaluationError("the loss became nan", cause="nan")


class Stubborn(Strategy):
    """Proposes the same child for ever."""

    def recommend(self) -> Genotype:
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        return {}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        return Proposal(self.genome.unrank(0))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the fresh process of the export, which takes seconds."""
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)


@pytest.fixture
def options(mini: type[SearchSpace], images: Data) -> dict[str, Any]:
    Scored.calls.clear()
    return {"space": mini, "data": images, "estimator": Scored, "study": False, "workers": 0}


def begun(folder: Path, options: Mapping[str, Any], **changes: Any) -> nas.Result:
    return nas.search(out=folder, **{"budget": 5, "seed": 1, **options, **changes})


def resumed(folder: Path, options: Mapping[str, Any], **changes: Any) -> nas.Result:
    return nas.resume(folder, **{**options, **changes})


def history(result: nas.Result) -> list[Any]:
    return [(t.ordinal, t.genotype, t.seed, t.state, t.metrics, t.of) for t in result.trials]


def kinds(folder: Path) -> Counter[str]:
    return Counter(event["event"] for event in read_events(folder / "events.jsonl"))


def summary(folder: Path) -> Any:
    return loads((folder / "summary.json").read_text())


def cut(run: Path, folder: Path, lines: int, *, bare: bool) -> Path:
    """A copy of a run as a process left it that was killed when so many lines were written."""
    shutil.copytree(run, folder)
    journal = folder / "events.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:lines]))
    (folder / "summary.json").unlink()
    if bare:
        shutil.rmtree(folder / "best")
        shutil.rmtree(folder / "trials")
        (folder / ".best.tmp-abc").mkdir()
    return folder


# After a kill --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("bare", [True, False])
def test_a_run_killed_at_any_event_ends_like_the_calm_one(
    options: dict[str, Any], tmp_path: Path, *, bare: bool
) -> None:
    calm = begun(tmp_path / "calm", options)
    weights = calm.model.state_dict()
    count = len((tmp_path / "calm" / "events.jsonl").read_bytes().splitlines())
    assert count > 25
    for lines in range(1, count + 1):
        folder = cut(tmp_path / "calm", tmp_path / f"cut-{lines}", lines, bare=bare)
        again = resumed(folder, options)
        assert history(again) == history(calm)
        assert (again.best.scores, again.best.weights) == (calm.best.scores, calm.best.weights)
        assert again.test == calm.test
        assert kinds(folder)["test_read"] == 1
        found = again.model.state_dict()
        assert all(torch.equal(found[name], value) for name, value in weights.items())
        assert not list(folder.glob(".best.*"))
        assert summary(folder)["best"] == summary(tmp_path / "calm")["best"]
        shutil.rmtree(folder)


def test_no_finished_training_is_done_again(options: dict[str, Any], tmp_path: Path) -> None:
    begun(tmp_path / "calm", options)
    lines = (tmp_path / "calm" / "events.jsonl").read_bytes().splitlines()
    scored = [at for at, line in enumerate(lines) if b'"finished"' in line or b'"rescored"' in line]
    for place in scored:
        folder = cut(tmp_path / "calm", tmp_path / f"cut-{place}", place + 1, bare=False)
        done = {
            event.get("ordinal")
            for event in read_events(folder / "events.jsonl")
            if event["event"] == "finished"
        }
        Scored.calls.clear()
        result = resumed(folder, options)
        assert max(Scored.calls.values(), default=1) == 1
        assert not {trial.seed for trial in result.trials if trial.ordinal in done} & {
            *Scored.calls
        }


def test_a_finished_run_is_only_read(options: dict[str, Any], tmp_path: Path) -> None:
    calm = begun(tmp_path / "run", options)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    Scored.calls.clear()
    again = resumed(tmp_path / "run", options)
    assert (history(again), again.best, again.test) == (history(calm), calm.best, calm.test)
    assert (again.seconds, again.weights_check) == (calm.seconds, calm.weights_check)
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert not Scored.calls
    assert {path.name for path in before if before[path] != after[path]} == set()


def test_a_folder_that_lost_its_export_gets_it_back(
    options: dict[str, Any], tmp_path: Path
) -> None:
    begun(tmp_path / "run", options)
    shutil.rmtree(tmp_path / "run" / "best")
    resumed(tmp_path / "run", options)
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()
    assert kinds(tmp_path / "run")["test_read"] == 1


def test_the_final_training_is_not_done_again_outside_a_session(
    options: dict[str, Any], cheap: type[Estimator], tmp_path: Path
) -> None:
    options = {**options, "estimator": cheap}
    calm = begun(tmp_path / "run", options, budget=1)
    resumed(tmp_path / "run", options)
    assert kinds(tmp_path / "run")["opened"] == kinds(tmp_path / "run")["final_training"] == 1
    shutil.rmtree(tmp_path / "run" / "trials")
    again = resumed(tmp_path / "run", options)
    assert kinds(tmp_path / "run")["opened"] == kinds(tmp_path / "run")["final_training"] == 2
    assert again.seconds >= calm.seconds
    assert again.test == calm.test


def test_what_was_done_stays_done(options: dict[str, Any], tmp_path: Path) -> None:
    options = {**options, "strategy": Stubborn}
    calm = begun(tmp_path / "calm", options)
    assert calm.ended.startswith("100 proposals in a row brought nothing new")
    place = next(
        number
        for number, event in enumerate(read_events(tmp_path / "calm" / "events.jsonl"), start=2)
        if event["event"] == "ended"
    )
    folder = cut(tmp_path / "calm", tmp_path / "cut", place, bare=True)
    assert history(resumed(folder, options)) == history(calm)
    more = resumed(folder, options, budget=9)
    assert len(more.trials) == len(calm.trials) + 100


def test_an_extension_that_fails_keeps_the_winner_of_before(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.engine.CONSECUTIVE_FAILURES", 2)
    calm = begun(tmp_path / "run", options, budget=2, strategy="random")
    before = summary(tmp_path / "run")["best"]
    weights = (tmp_path / "run" / "best" / "model.safetensors").read_bytes()
    failing = {**options, "estimator": Broken}
    journal = tmp_path / "run" / "run.json"
    journal.write_text(journal.read_text().replace("Scored", "Broken"))
    with pytest.raises(NasError, match="the winner of before stays") as caught:
        resumed(tmp_path / "run", failing, budget=6)
    assert caught.value.exit_code == 3
    found = summary(tmp_path / "run")
    assert (found["best"], found["budget"]) == (before, 6)
    assert found["states"]["failed"] > 0
    assert (tmp_path / "run" / "best" / "model.safetensors").read_bytes() == weights
    assert status.document(tmp_path / "run")["state"] == "failed"
    assert calm.best.trial.ordinal == before["trial"]


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_summary_is_written_anew(
    options: dict[str, Any], tmp_path: Path, text: str
) -> None:
    begun(tmp_path / "run", options, budget=2)
    before = summary(tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text(text)
    assert status.document(tmp_path / "run")["state"] == "stopped"
    resumed(tmp_path / "run", options)
    assert summary(tmp_path / "run")["best"] == before["best"]


@pytest.mark.usefixtures("unchecked")
def test_options_that_an_estimator_resolved_stay_when_its_defaults_change(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**options, "estimator": "proxy", "space": "mbconv"}
    settings = {"estimator": {"score": "grad_norm"}}
    begun(tmp_path / "run", options, budget=1, settings=settings)
    monkeypatch.setattr("estimators.proxy.BATCHES", {"grad_norm": 4})
    resumed(tmp_path / "run", options, budget=2)
    assert read_record(tmp_path / "run").derived.estimator["batch_size"] == 16
    assert kinds(tmp_path / "run")["opened"] == 2


def test_an_option_that_was_left_to_the_budget_stays_what_it_became(
    options: dict[str, Any], tmp_path: Path
) -> None:
    options = {**options, "strategy": "evolution"}
    settings = {"strategy": {"population_size": None}}
    begun(tmp_path / "run", options, budget=3, settings=settings)
    assert len(resumed(tmp_path / "run", options, budget=5).trials) >= 5


def test_a_run_that_is_extended_and_killed_is_not_finished(
    options: dict[str, Any], tmp_path: Path
) -> None:
    begun(tmp_path / "run", options, budget=2)
    assert status.document(tmp_path / "run")["state"] == "finished"
    with Journal(tmp_path / "run" / "events.jsonl") as journal:
        journal.append("opened", **opened(5, 0))
    assert status.document(tmp_path / "run")["state"] == "stopped"


# More budget, less time ------------------------------------------------------------------------


def test_a_larger_budget_extends_the_run(options: dict[str, Any], tmp_path: Path) -> None:
    short = begun(tmp_path / "run", options, budget=2, strategy="evolution")
    derived = loads((tmp_path / "run" / "run.json").read_text())["derived"]["strategy"]
    long = resumed(tmp_path / "run", options, budget=6)
    assert history(long)[: len(short.trials)] == history(short)
    assert sum(trial.state == "complete" for trial in long.trials) == 6
    assert summary(tmp_path / "run")["budget"] == 6
    assert summary(tmp_path / "run")["sessions"] == 2
    assert loads((tmp_path / "run" / "run.json").read_text())["derived"]["strategy"] == derived
    assert derived["population_size"] == 6


def test_another_winner_replaces_the_export_and_its_reading_is_counted(
    options: dict[str, Any], tmp_path: Path
) -> None:
    short = begun(tmp_path / "run", options, budget=1, strategy="grid", seed=2)
    long = resumed(tmp_path / "run", options, budget=6)
    assert short.best.trial.ordinal != long.best.trial.ordinal
    assert summary(tmp_path / "run")["best"]["test_reads"] == 2
    card = (tmp_path / "run" / "best" / "README.md").read_text()
    assert "read 2 times, each time by other weights" in card
    state = nas.load(tmp_path / "run").state_dict()
    assert all(torch.equal(state[name], value) for name, value in long.model.state_dict().items())
    assert build(long.best.child.graph).state_dict().keys() == state.keys()


def test_a_budget_below_what_was_started_is_refused(
    options: dict[str, Any], tmp_path: Path
) -> None:
    begun(tmp_path / "run", options, budget=3)
    with pytest.raises(NasError, match="must be at least 3, as many children") as caught:
        resumed(tmp_path / "run", options, budget=2)
    assert caught.value.exit_code == 2


def test_a_time_limit_ends_with_a_winner_and_the_run_goes_on(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = begun(tmp_path / "calm", options)
    clock = iter(range(0, 10_000_000, 1000))
    monkeypatch.setattr("nas.session.time.monotonic", lambda: float(next(clock)))
    short = begun(tmp_path / "run", options, max_hours=1.5)
    monkeypatch.undo()
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    assert short.ended == "time limit of 1.5 h reached"
    assert 0 < len(short.trials) < len(calm.trials)
    assert short.model is not None
    assert history(resumed(tmp_path / "run", options)) == history(calm)


# Signals -------------------------------------------------------------------------------------


class Struck(Scored):
    """Sends its own process a signal in a certain training."""

    at = 0
    number = signal.SIGINT
    times = 1

    def evaluate(self, graph: Graph, **arguments: Any) -> Evaluation:  # type: ignore[override]
        if sum(self.calls.values()) == self.at:
            for _ in range(self.times):
                signal.raise_signal(self.number)
        return super().evaluate(graph, **arguments)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [0, 2, 6])
def test_a_signal_lets_the_child_finish_and_says_how_to_go_on(
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    at: int,
) -> None:
    calm = begun(tmp_path / "calm", options, strategy="evolution")
    Scored.calls.clear()
    monkeypatch.setattr(Struck, "at", at)
    monkeypatch.setattr(Struck, "number", number)
    folder = tmp_path / "run"
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match=f"go on with: nas resume {folder}") as caught:
        begun(folder, options, estimator=Struck, strategy="evolution")
    assert caught.value.exit_code == 128 + number
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    found = kinds(folder)
    assert found["started"] == found["finished"] - sum(
        event["event"] == "finished" and event["attempt"] == 0
        for event in read_events(folder / "events.jsonl")
    )
    assert found["started"] + found["rescored"] == at + 1
    monkeypatch.setattr(Struck, "at", -1)
    assert history(resumed(folder, {**options, "estimator": Struck})) == history(calm)


def test_a_second_signal_stops_at_once(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Struck, "times", 2)
    with pytest.raises(Interrupted):
        begun(tmp_path / "run", options, estimator=Struck)
    assert kinds(tmp_path / "run") == {"opened": 1, "asked": 1, "started": 1}
    monkeypatch.setattr(Struck, "at", -1)
    result = resumed(tmp_path / "run", {**options, "estimator": Struck})
    assert result.ended == "budget spent"
    started = [e for e in read_events(tmp_path / "run" / "events.jsonl") if e["event"] == "started"]
    assert [event["attempt"] for event in started[:2]] == [1, 2]


# Refusals ------------------------------------------------------------------------------------


def refusal(folder: Path, options: Mapping[str, Any]) -> NasError:
    before = (folder / "events.jsonl").read_bytes()
    with pytest.raises(NasError) as caught:
        nas.resume(folder, **options)
    assert (folder / "events.jsonl").read_bytes() == before
    assert "\n" not in str(caught.value)
    return caught.value


def test_other_data_are_refused(options: dict[str, Any], images: Data, tmp_path: Path) -> None:
    begun(tmp_path / "run", options, budget=1)
    error = refusal(tmp_path / "run", {**options, "data": (images[0] / 2, images[1])})
    assert "data_fingerprint is " in str(error)
    assert error.exit_code == 4


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("seed", 8, None),
        ("objective", "log_loss", "direction"),
        ("genotypes", "13", "genotypes"),
        ("input_shape", [1, 9, 9], "input_shape"),
        ("derived", {"strategy": {}, "estimator": {"estimator": "x"}, "run": {}}, "derived"),
    ],
)
def test_a_run_that_was_edited_is_told_field_by_field(
    options: dict[str, Any], tmp_path: Path, field: str, value: Any, said: str | None
) -> None:
    begun(tmp_path / "run", options, budget=1)
    path = tmp_path / "run" / "run.json"
    document = loads(path.read_text())
    document[field] = value
    path.write_text(json.dumps(document))
    if said is None:
        resumed(tmp_path / "run", options)  # nothing contradicts it
        return
    error = refusal(tmp_path / "run", options)
    assert error.exit_code == 4
    assert said in str(error)


@pytest.mark.parametrize("part", ["space", "estimator", "data"])
def test_what_has_no_name_must_be_handed_over(
    options: dict[str, Any], tmp_path: Path, part: str
) -> None:
    begun(tmp_path / "run", options, budget=1)
    error = refusal(tmp_path / "run", {**options, part: None})
    assert f"hand it over in Python: nas.resume(folder, {part}=...)" in str(error)
    assert error.exit_code == 4


def test_other_versions_are_no_obstacle(options: dict[str, Any], tmp_path: Path) -> None:
    begun(tmp_path / "run", options, budget=1)
    path = tmp_path / "run" / "run.json"
    path.write_text(path.read_text().replace(torch.__version__, "2.0.0"))
    resumed(tmp_path / "run", options, budget=2)


def test_a_run_in_use_is_refused_with_its_holder(options: dict[str, Any], tmp_path: Path) -> None:
    begun(tmp_path / "run", options, budget=1)
    with RunLock(tmp_path / "run"):
        error = refusal(tmp_path / "run", options)
        assert f"is in use by process {os.getpid()} on " in str(error)
        assert error.exit_code == 4


def test_a_damaged_journal_is_refused_and_left_alone(
    options: dict[str, Any], tmp_path: Path
) -> None:
    begun(tmp_path / "run", options, budget=1)
    path = tmp_path / "run" / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"told"', b'"sold"'))
    assert refusal(tmp_path / "run", options).exit_code == 4


def test_the_study_of_a_run_is_that_of_its_trials(options: dict[str, Any], tmp_path: Path) -> None:
    result = begun(tmp_path / "run", options, study=True)
    study = result.study
    assert study.study_name == "run"
    assert len(study.trials) == len(result.trials)
    assert (
        study.best_trial.number
        == max(
            (t for t in result.trials if t.state == "complete"), key=lambda t: t.metrics["accuracy"]
        ).ordinal
    )
    longer = resumed(tmp_path / "run", options, study=True, budget=6)
    assert len(longer.study.trials) == len(longer.trials)
