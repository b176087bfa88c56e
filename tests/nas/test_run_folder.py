"""Run folders: new ones only, with files that are whole or absent."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nas.errors import NasError
from nas.run_folder import (
    RunRecord,
    Settings,
    check_plain,
    create,
    differences,
    read_json,
    read_record,
    tidy,
    versions,
    write_json,
    write_text,
)

RECORD: dict[str, Any] = {
    "space": "mbconv",
    "strategy": "random",
    "estimator": "training",
    "data": "digits",
    "data_fingerprint": "00",
    "input_shape": (1, 8, 8),
    "num_classes": 10,
    "budget": 3,
    "seed": 0,
    "device": "cpu",
    "objective": "accuracy",
    "direction": "maximize",
    "fidelity": 1.0,
    "max_params": None,
    "max_macs": None,
    "max_latency_ms": None,
    "settings": {"space": {}, "strategy": {}, "estimator": {}},
    "derived": {"strategy": {}, "estimator": {}, "run": {}},
    "genotypes": "12",
    "versions": {},
}
RUN_RECORD = RunRecord(**RECORD)


def test_a_new_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    folder = create(tmp_path / "a" / "b", RUN_RECORD)
    assert folder == tmp_path / "a" / "b"
    assert folder.is_dir()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert create(tmp_path / "run", RUN_RECORD).is_dir()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(NasError, match="is not empty; choose another folder") as caught:
        create(tmp_path / "run", RUN_RECORD)
    assert caught.value.exit_code == 4
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_file_in_its_place_is_an_error_of_the_surroundings(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(NasError, match="cannot make") as caught:
        create(tmp_path / "run", RUN_RECORD)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    "name", ["..", ".hidden", "-x", "a b", "x\n", "a\0b", "~", "é", "q?x={1}%41", "n" * 65]
)
def test_odd_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NasError, match="the last part must be") as caught:
        create(tmp_path / "inside" / name, RUN_RECORD)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_folders_above_may_have_any_name(tmp_path: Path) -> None:
    assert create(tmp_path / "q?x={1}%41 ü'" / "run", RUN_RECORD).is_dir()


@pytest.mark.parametrize(
    ("space", "stem"),
    [
        ("mbconv", "mbconv"),
        ("_mine", "mine"),
        ("größe", "gr-e"),
        ("../../x", "x"),
        ("日本", "run"),
        ("x" * 300, "x" * 40),
    ],
)
def test_folders_are_numbered_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: str, stem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [create(None, RUN_RECORD.model_copy(update={"space": space})) for _ in range(3)] == [
        Path("runs") / f"{stem}-{number}" for number in (1, 2, 3)
    ]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "old")
    write_text(tmp_path / "x", "né")
    assert (tmp_path / "x").read_bytes() == "né".encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_file_that_cannot_be_written_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    write_text(tmp_path / "x", "old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if broken == "fsync" else (Path, "replace")), fail)
    with pytest.raises(NasError, match="No space left on device") as caught:
        write_text(tmp_path / "x", "new")
    assert caught.value.exit_code == 5
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"x": "old"}


def test_json_is_strict_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 0.5, None, "é"]})
    assert read_json(path, what="it") == {"a": [1, 0.5, None, "é"]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path, what="it") == {"a": [1, 0.5, None, "é"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "at most 2"),
        (b"\x80\x05.", "not UTF-8"),
        (b" " * (8 * 2**20 + 1), "larger than 8 MiB"),
    ],
)
def test_a_damaged_document_is_named_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(NasError, match=message) as caught:
        read_json(path, what="it")
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("it: ")
    assert "\n" not in str(caught.value)


def test_a_document_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="cannot read") as caught:
        read_json(tmp_path / "x.json", what="it")
    assert caught.value.exit_code == 2


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    record = RunRecord(**RECORD)
    write_json(tmp_path / "run.json", record.model_dump(mode="json"))
    assert RunRecord.model_validate_json((tmp_path / "run.json").read_text()) == record
    assert json.loads((tmp_path / "run.json").read_text())["schema_version"] == 1


@pytest.mark.parametrize(
    "change", [{"budget": 2.0}, {"budget": "3"}, {"fidelity": float("nan")}, {"more": 1}]
)
def test_a_record_takes_nothing_else(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RunRecord(**{**RECORD, **change})


def test_versions_are_those_that_scores_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"python", "torch", "numpy", "nas-engine"} <= versions().keys()


# A run that is there already ---------------------------------------------------------------


def run_in(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    run = RUN_RECORD.model_copy(update=changes)
    write_json(folder / "run.json", run.model_dump(mode="json"))
    return folder


def test_a_folder_with_the_same_run_says_how_to_go_on(tmp_path: Path) -> None:
    folder = run_in(tmp_path / "run")
    with pytest.raises(NasError, match="holds a run already, the same; go on with it by") as caught:
        create(folder, RUN_RECORD)
    assert caught.value.exit_code == 4


def test_a_folder_with_another_run_says_in_what_it_differs(tmp_path: Path) -> None:
    settings = Settings(space={"kernel": 5}, strategy={}, estimator={})
    folder = run_in(tmp_path / "run", seed=7, budget=9, settings=settings, versions={"a": "1"})
    with pytest.raises(NasError, match="another one") as caught:
        create(folder, RUN_RECORD)
    assert "seed is 7 in the run, 0 here" in str(caught.value)
    assert "settings.space.kernel is 5 in the run, null here" in str(caught.value)
    assert "budget is 9 in the run, 3 here" in str(caught.value)
    assert "versions" not in str(caught.value)


def test_what_may_change_is_no_difference() -> None:
    other = RUN_RECORD.model_copy(update={"budget": 9, "versions": {"torch": "1"}})
    assert differences(RUN_RECORD, other) == []


@pytest.mark.parametrize(
    ("text", "message", "code"),
    [
        ("{", "not JSON", 2),
        ("{}", "must have schema version 1, got None", 4),
        ("[]", "must have schema version 1, got None", 4),
        ('{"schema_version": 999}', "must have schema version 1, got 999", 4),
        ('{"schema_version": 1}', "space: Field required", 4),
        (json.dumps({**RECORD, "schema_version": 1, "more": 1}), "more: Extra inputs", 4),
        (json.dumps({**RECORD, "schema_version": 1, "budget": "3"}), "budget: Input should", 4),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str, code: int
) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(NasError, match=re.escape(message)) as caught:
        read_record(tmp_path)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)


def test_a_record_is_read_back(tmp_path: Path) -> None:
    assert read_record(run_in(tmp_path / "run")) == RUN_RECORD


def test_tidying_removes_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    for name in ("trials", "best", ".best.tmp-x", ".best.old-7"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    for name in ("summary.json.tmp-7", "trials/1.safetensors.tmp-7", "summary.json", "my.tmp"):
        (tmp_path / name).write_text("x")
    tidy(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"trials/file", "best/file", "summary.json", "my.tmp"}
    assert not (tmp_path / ".best.tmp-x").exists()


@pytest.mark.parametrize("name", ["trials", "events.jsonl", "study.db", ".holder.json", "best"])
def test_a_run_folder_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = run_in(tmp_path / "run")
    check_plain(folder)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NasError, match="is a link") as caught:
        check_plain(folder)
    assert caught.value.exit_code == 4


def test_a_folder_in_which_nothing_had_begun_is_taken(tmp_path: Path) -> None:
    for name in (".lock", ".holder.json", "run.json.tmp-77"):
        (tmp_path / name).write_text("x")
    assert create(tmp_path, RUN_RECORD) == tmp_path
