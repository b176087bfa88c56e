"""How a run stands, from any shell."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas import panel, status
from nas.cli import run
from nas.errors import NasError
from nas.lock import RunLock
from search_spaces.strict_json import loads


@pytest.fixture
def folder(finished: Any, tmp_path: Path) -> Path:
    """A copy of a finished run, to be changed."""
    shutil.copytree(finished.result.folder, tmp_path / "run")
    return tmp_path / "run"


def cut(folder: Path, event: str) -> None:
    """Leave the run as a killed process would, after the first such event."""
    (folder / "summary.json").unlink()
    path = folder / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    place = next(at for at, line in enumerate(lines) if f'"{event}"'.encode() in line)
    path.write_bytes(b"".join(lines[: place + 1]))


def test_a_finished_run_shows_its_summary(finished: Any, folder: Path) -> None:
    found = status.document(folder)
    assert found["state"] == "finished"
    assert found["budget"] == 3
    assert found["states"]["complete"] == 3
    assert found["best"] == loads((folder / "summary.json").read_text())["best"]
    assert found["seconds"] > 0
    assert found["ended"] == "budget spent"
    assert (found["holder"], found["in_training"], found["failures"]) == (None, [], [])


def test_a_killed_run_is_stopped_with_its_best_so_far(folder: Path) -> None:
    cut(folder, "finished")
    found = status.document(folder)
    assert found["state"] == "stopped"
    assert found["states"] == {"complete": 1}
    assert found["best"]["trial"] == 0
    assert set(found["best"]) == {"trial", "score", "params", "macs", "genotype"}


def test_a_run_before_its_first_child_has_no_best(folder: Path) -> None:
    cut(folder, "opened")
    found = status.document(folder)
    assert (found["best"], found["states"], found["per_hour"]) == (None, {}, None)
    (folder / "events.jsonl").unlink()
    assert status.document(folder)["state"] == "stopped"


def test_a_run_that_is_worked_on_names_who_and_what(folder: Path) -> None:
    cut(folder, "started")
    with RunLock(folder):
        found = status.document(folder)
    assert found["state"] == "running"
    assert found["holder"]["pid"] == os.getpid()
    assert found["in_training"] == [0]


@pytest.mark.parametrize(("outcome", "phase"), [("paused", "paused"), ("done", "finished")])
def test_a_time_limit_is_a_pause(folder: Path, outcome: str, phase: str) -> None:
    path = folder / "events.jsonl"
    text = path.read_text().replace('"outcome":"done"', f'"outcome":"{outcome}"')
    path.write_text(text)
    assert status.document(folder)["state"] == phase


def test_a_run_without_a_winner_has_failed(folder: Path) -> None:
    path = folder / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"exported"' not in line))
    assert status.document(folder)["state"] == "failed"


def test_a_torn_line_is_no_obstacle(folder: Path) -> None:
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"event":"ask')
    assert status.document(folder)["state"] == "finished"


def test_a_damaged_journal_is_refused(folder: Path) -> None:
    path = folder / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"told"', b'"sold"'))
    with pytest.raises(NasError, match="is damaged") as caught:
        status.document(folder)
    assert caught.value.exit_code == 4


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    run(["status", *arguments])
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_the_text_has_the_same_figures(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = shown(capsys, str(folder))
    assert "run: finished" in text
    assert "3 of 3" in text
    assert "3 complete" in text
    assert "children an hour" in text
    assert "\x1b" not in text
    assert "nas resume" not in text
    cut(folder, "finished")
    assert f"go on with: nas resume {folder}" in shown(capsys, str(folder)).replace("\n", "")


def test_failed_trials_are_listed_with_their_causes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, str(folder), "--failed") == "no trial has failed\n"
    path = folder / "events.jsonl"
    lines = path.read_text().splitlines()
    place = next(at for at, line in enumerate(lines) if '"finished"' in line)
    event = {**loads(lines[place]), "state": "failed", "cause": "nan", "message": "lost\x1b[2J"}
    lines[place] = json.dumps(event)
    path.write_text("\n".join(lines) + "\n")
    assert shown(capsys, str(folder), "--failed") == f"trial {event['ordinal']}: nan: lost [2J\n"
    (row,) = loads(shown(capsys, str(folder), "--failed", "--json"))
    assert row == {"trial": event["ordinal"], "cause": "nan", "message": "lost\x1b[2J"}


def ended_after_three_naps(
    folder: Path, sleep: str, monkeypatch: pytest.MonkeyPatch
) -> list[float]:
    """A run that a process works on, until whoever watches it has slept three times."""
    lock = RunLock(folder)
    lock.__enter__()
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            lock.__exit__(None, None, None)

    monkeypatch.setattr(sleep, nap)
    return naps


def test_watching_ends_with_the_run(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    naps = ended_after_three_naps(folder, "nas.panel.time.sleep", monkeypatch)
    text = shown(capsys, str(folder), "--watch")
    assert len(naps) == 3
    assert text.count("3 of 3 trained") == 3
    assert "finished" in text


def test_watching_a_document_answers_when_the_run_has_ended(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    naps = ended_after_three_naps(folder, "nas.status.time.sleep", monkeypatch)
    found = loads(shown(capsys, str(folder), "--watch", "--json"))
    assert (len(naps), found["state"]) == (3, "finished")


def test_status_does_without_torch(folder: Path) -> None:
    script = (
        "import sys\nfrom nas.cli import run\nrun(['status', sys.argv[1], '--json'])\n"
        "print([name for name in ('torch', 'ray', 'optuna') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", script, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (3599.9, "1:00:00"), (7387, "2:03:07")],
)
def test_durations_read_like_clocks(seconds: float, text: str) -> None:
    assert panel.duration(seconds) == text
