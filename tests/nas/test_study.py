"""The Optuna study of a run: read as anybody would read it, rebuilt whenever it differs."""

import sqlite3
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from nas import study
from nas.errors import NasError
from nas.limits import Objective
from nas.study import StudyMirror, load_study
from nas.trial import State, Trial
from search_spaces.genome import Decision, Genome, Option
from search_spaces.mbconv import MBConvSpace

# One decision in two branches, one in a single branch, values of all types.
KERNEL = Decision.of("kernel", (3, 5))
BLOCK = Decision(
    "block",
    (
        Option("conv", opens=(KERNEL,)),
        Option("deep", opens=(KERNEL, Decision.of("rate", (0.25, 0.5)))),
        Option("skip"),
    ),
)
GENOME = Genome((BLOCK, Decision.of("gate", (True, False, 1.5, "x", 3))))


def trial(ordinal: int, state: State = "complete", **changes: Any) -> Trial:
    scored = state in {"complete", "stopped", "duplicate"}
    metrics = {"accuracy": ordinal / 10_000, "log_loss": 1.0} if scored else {}
    genotype = GENOME.unrank(ordinal % GENOME.size)
    made = Trial(ordinal, genotype, f"hash{ordinal}", state, 10, 20, 1.0, 7, metrics=metrics)
    return replace(made, **changes)


def mirror(folder: Path, **changes: Any) -> StudyMirror:
    options: dict[str, Any] = {
        "name": "run",
        "genome": GENOME,
        "objectives": (Objective("accuracy", "maximize"),),
        **changes,
    }
    return StudyMirror(folder / "study.db", **options)


def written(folder: Path, trials: Sequence[Trial], **changes: Any) -> optuna.Study:
    """The study after one session with these trials."""
    kept = mirror(folder, **changes)
    kept.sync(trials)
    kept.close()
    return load_study(folder / "study.db", str(changes.get("name", "run")))


def content(found: optuna.Study) -> list[tuple[Any, ...]]:
    """All but the clocks."""
    return [
        (one.number, one.state, one.values, one.params, one.distributions, one.user_attrs)
        for one in found.trials
    ]


# What it says --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("running", TrialState.RUNNING),
        ("complete", TrialState.COMPLETE),
        ("stopped", TrialState.PRUNED),
        ("failed", TrialState.FAIL),
        ("infeasible", TrialState.PRUNED),
        ("duplicate", TrialState.PRUNED),
    ],
)
def test_every_state_has_its_counterpart(tmp_path: Path, state: State, found: TrialState) -> None:
    one = written(tmp_path, [trial(0, state)]).trials[0]
    assert one.state is found
    assert one.values == ([0.0] if state == "complete" else None)
    assert one.user_attrs.get("state") == (None if state == "running" else state)


def test_a_trial_has_all_that_is_known_of_it(tmp_path: Path) -> None:
    failed = trial(0, "failed", cause="nan", message="lost", seconds=2.5, latency_ms=1.25)
    again = trial(1, "duplicate", of=0)
    one, other = written(tmp_path, [failed, again]).trials
    assert one.user_attrs == {
        "hash": "hash0",
        "params": 10,
        "macs": 20,
        "fidelity": 1.0,
        "seed": 7,
        "latency_ms": 1.25,
        "state": "failed",
        "seconds": 2.5,
        "cause": "nan",
        "message": "lost",
    }
    assert other.user_attrs["duplicate_of"] == 0
    assert other.user_attrs["accuracy"] == again.metrics["accuracy"]
    assert one.duration is not None
    assert one.duration.total_seconds() == pytest.approx(2.5, abs=0.1)


def test_parameters_are_the_active_decisions(
    tmp_path: Path,
) -> None:
    trials = [trial(rank) for rank in range(GENOME.size)]
    found = written(tmp_path, trials).trials
    for one, asked in zip(found, trials, strict=True):
        assert one.number == asked.ordinal
        assert one.params == asked.genotype.to_dict()
        values = [(type(value), value) for value in one.params.values()]
        assert values == [(type(value), value) for _, value in asked.genotype.answers]
    choices = {
        name: distribution.choices
        for one in found
        for name, distribution in one.distributions.items()
        if isinstance(distribution, optuna.distributions.CategoricalDistribution)
    }
    assert choices["kernel"] == (3, 5)
    assert choices["gate"] == (True, False, 1.5, "x", 3)


def test_the_study_has_names_and_direction(tmp_path: Path) -> None:
    found = written(
        tmp_path, [trial(0)], name="my run", objectives=(Objective("log_loss", "minimize"),)
    )
    assert found.study_name == "my run"
    assert found.metric_names == ["log_loss"]
    assert found.direction is optuna.study.StudyDirection.MINIMIZE
    assert found.best_value == 1.0


def test_only_complete_trials_can_be_the_best(tmp_path: Path) -> None:
    better = {"accuracy": 0.9, "log_loss": 0.1}
    states: tuple[State, ...] = ("duplicate", "stopped")
    trials = [trial(0), *[trial(1 + at, state, metrics=better) for at, state in enumerate(states)]]
    assert written(tmp_path, trials).best_trial.number == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_never_a_value(tmp_path: Path, value: float) -> None:
    odd = trial(1, metrics={"accuracy": value, "log_loss": 1.0})
    found = written(tmp_path, [trial(0), odd])
    assert found.best_trial.number == 0
    assert found.trials[1].values is None


# How it is written ---------------------------------------------------------------------------


STATES: tuple[State, ...] = ("complete", "failed", "infeasible", "duplicate", "stopped")


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_batches_of_any_size_make_the_same_study(tmp_path: Path, size: int) -> None:
    trials = [trial(at, STATES[at % 5]) for at in range(40)]
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = written(tmp_path / "whole", trials)
    kept = mirror(tmp_path / "parts")
    for end in range(size, 40 + size, size):
        head = trials[:end]
        kept.sync([*head[:-1], replace(head[-1], state="running", metrics={})])
        kept.sync(head)
    kept.close()
    assert content(load_study(tmp_path / "parts" / "study.db", "run")) == content(whole)


def test_a_study_that_lags_catches_up(tmp_path: Path) -> None:
    written(tmp_path, [trial(0), trial(1, "running")])
    found = written(tmp_path, [trial(0), trial(1), trial(2)])
    assert [one.state.name for one in found.trials] == 3 * ["COMPLETE"]
    assert found.trials[1].user_attrs["state"] == "complete"


def execute(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "study.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "edit",
    [
        "update trial_values set value = 0.99 where trial_id = 1",
        "delete from trial_values where trial_id = 2",
        "update trials set state = 'FAIL' where trial_id = 1",
        "update trials set number = 7 where trial_id = 3",
        "delete from trials where trial_id = 2",
        "insert into trials (number, study_id, state) values (3, 1, 'COMPLETE')",
        "update study_directions set direction = 'MINIMIZE'",
        "update studies set study_name = 'other'",
    ],
)
def test_a_study_that_was_edited_is_written_anew(tmp_path: Path, edit: str) -> None:
    trials = [trial(0), trial(1), trial(2)]
    before = content(written(tmp_path, trials))
    execute(tmp_path, edit)
    mirror_again = mirror(tmp_path)
    mirror_again.sync(trials)
    mirror_again.close()
    storage = study.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    found = optuna.load_study(study_name="run", storage=storage)
    assert content(found) == before
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.parametrize("what", ["study", "trial"])
def test_what_is_deleted_while_the_search_runs_is_written_anew(tmp_path: Path, what: str) -> None:
    kept = mirror(tmp_path)
    kept.sync([trial(0), trial(1, "running")])
    if what == "study":
        storage = study.RDBStorage(f"sqlite:///{tmp_path}/study.db")  # as the dashboard does
        storage.delete_study(storage.get_study_id_from_name("run"))
        storage.remove_session()
        storage.engine.dispose()
    else:
        execute(tmp_path, "delete from trials where number = 1")
    kept.sync([trial(0), trial(1), trial(2)])
    kept.close()
    assert [one.number for one in load_study(tmp_path / "study.db", "run").trials] == [0, 1, 2]


def test_a_study_goes_by_the_new_name_of_its_folder(tmp_path: Path) -> None:
    before = content(written(tmp_path, [trial(0), trial(1)], name="old"))
    assert content(load_study(tmp_path / "study.db", "new")) == before  # nobody went on with it
    after = content(written(tmp_path, [trial(0), trial(1), trial(2)], name="new"))
    assert after[:2] == before
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        names = connection.execute("select study_name from studies").fetchall()
    assert names == [("new",)]


def test_a_study_that_is_taken_away_while_the_search_runs_is_made_anew(tmp_path: Path) -> None:
    kept = mirror(tmp_path)
    kept.sync([trial(0), trial(1)])
    for path in tmp_path.glob("study.db*"):
        path.unlink()
    kept.sync([trial(0), trial(1), trial(2)])
    kept.close()
    assert [one.number for one in load_study(tmp_path / "study.db", "run").trials] == [0, 1, 2]


def test_a_study_with_states_that_there_are_not_is_written_anew(tmp_path: Path) -> None:
    before = content(written(tmp_path, [trial(0), trial(1)]))
    execute(tmp_path, "update trials set state = 'PERHAPS' where trial_id = 1")
    assert content(written(tmp_path, [trial(0), trial(1)])) == before


def test_the_database_of_another_program_is_moved_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute("create table recipes (name text)")
        connection.execute("insert into recipes values ('soup')")
        connection.commit()
    assert len(written(tmp_path, [trial(0)]).trials) == 1
    with closing(sqlite3.connect(tmp_path / "study.db.bad-1")) as connection:
        assert connection.execute("select * from recipes").fetchall() == [("soup",)]
        tables = connection.execute("select name from sqlite_master").fetchall()
    assert tables == [("recipes",)]
    assert capsys.readouterr().err.count("\n") == 1


def test_writing_thousands_of_trials_anew_takes_no_longer_than_writing_them(
    tmp_path: Path,
) -> None:
    trials = [trial(at) for at in range(2000)]
    begin = time.process_time()
    written(tmp_path, trials)
    once = time.process_time() - begin
    execute(tmp_path, "update trial_values set value = 0.99 where trial_id = 1")
    begin = time.process_time()
    written(tmp_path, trials)
    assert time.process_time() - begin < 3 * once


def test_another_study_in_the_file_is_left_alone(tmp_path: Path) -> None:
    written(tmp_path, [trial(5)], name="mine")
    written(tmp_path, [trial(0), trial(1)], name="yours")
    written(tmp_path, [trial(0), trial(1)], name="mine")
    execute(tmp_path, "delete from trials where trial_id = 1")
    written_again = mirror(tmp_path, name="mine")
    written_again.sync([trial(0), trial(1)])
    written_again.close()
    with sqlite3.connect(tmp_path / "study.db") as connection:
        rows = connection.execute(
            "select study_name, count(*) from trials natural join studies group by 1 order by 1"
        ).fetchall()
    connection.close()
    assert rows == [("mine", 2), ("yours", 2)]


@pytest.mark.parametrize("content_", [b"notes of mine", b"SQLite format 3\0" + 200 * b"x"])
def test_a_file_that_is_no_study_is_moved_aside(
    tmp_path: Path, content_: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        (tmp_path / "study.db").write_bytes(content_)
        assert len(written(tmp_path, [trial(0)]).trials) == 1
        assert (tmp_path / f"study.db.bad-{number}").read_bytes() == content_
        assert capsys.readouterr().err.count("\n") == 1


def test_a_truncated_study_is_moved_aside(tmp_path: Path) -> None:
    written(tmp_path, [trial(at) for at in range(200)])
    path = tmp_path / "study.db"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(written(tmp_path, [trial(at) for at in range(200)]).trials) == 200


def test_an_empty_file_is_a_new_study(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    assert len(written(tmp_path, [trial(0)]).trials) == 1
    assert not list(tmp_path.glob("*bad*"))


@pytest.mark.parametrize("name", ["q?x={1}%41 ü", "a b", "c#d", "e'f", "{schema_version}"])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    assert len(written(folder, [trial(0)]).trials) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


# Faults --------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(study, "LAST_BUSY_SECONDS", 0.02)


@pytest.mark.usefixtures("impatient")
def test_a_locked_study_is_caught_up_with_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = mirror(tmp_path)
    kept.sync([trial(0)])
    other = sqlite3.connect(tmp_path / "study.db")
    other.execute("BEGIN EXCLUSIVE")
    kept.sync([trial(0), trial(1)])
    assert capsys.readouterr() == ("", "")
    other.rollback()
    kept.sync([trial(0), trial(1)])
    assert len(load_study(tmp_path / "study.db", "run").trials) == 2
    other.execute("BEGIN EXCLUSIVE")
    kept.sync([trial(0), trial(1), trial(2)])
    kept.close()
    assert "is locked and lags behind the record" in capsys.readouterr().err
    other.rollback()
    other.close()
    assert len(written(tmp_path, [trial(0), trial(1), trial(2)]).trials) == 3


def test_a_full_disk_is_said_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connect = study._connect

    def small(path: Path, patience: float) -> sqlite3.Connection:
        connection = connect(path, patience)
        connection.execute("PRAGMA max_page_count = 60")
        return connection

    monkeypatch.setattr(study, "_connect", small)
    kept = mirror(tmp_path)
    for count in range(100, 1000, 100):
        kept.sync([trial(at) for at in range(count)])
    kept.close()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is not kept any more" in said
    assert "full" in said


def test_a_folder_that_is_not_there_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = mirror(tmp_path / "gone")
    kept.sync([trial(0)])
    kept.sync([trial(0), trial(1)])
    kept.close()
    assert capsys.readouterr().err.count("\n") == 1


def test_nothing_is_printed_and_optuna_stays_as_talkative_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = optuna.logging.get_verbosity()
    written(tmp_path, [trial(0)])
    assert capsys.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_a_run_without_a_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="there is no ") as caught:
        load_study(tmp_path / "study.db", "run")
    assert caught.value.exit_code == 2
    (tmp_path / "study.db").write_text("notes of mine")
    with pytest.raises(NasError, match="cannot read"):
        load_study(tmp_path / "study.db", "run")
    assert (tmp_path / "study.db").read_text() == "notes of mine"


# Cost ----------------------------------------------------------------------------------------


def test_thousands_of_trials_cost_little_and_no_more_at_the_end(tmp_path: Path) -> None:
    space, rng = MBConvSpace((1, 8, 8), 10), np.random.default_rng(0)
    trials = [replace(trial(at), genotype=space.genome.sample_options(rng)) for at in range(2000)]
    kept = mirror(tmp_path, genome=space.genome)
    times = []
    for end in range(250, 2001, 250):
        begin = time.process_time()
        kept.sync(trials[:end])
        times.append(time.process_time() - begin)
    kept.close()
    assert sum(times) < 5
    assert statistics.median(times[-3:]) < 3 * statistics.median(times[1:4])
    found: list[FrozenTrial] = load_study(tmp_path / "study.db", "run").trials
    assert len(found) == 2000
