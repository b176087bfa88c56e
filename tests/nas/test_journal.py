"""The journal: whole lines on the disk, whatever happens to disk, process or file."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from nas.errors import NasError
from nas.journal import Journal, read_events


def written(path: Path, count: int = 3) -> list[dict[str, Any]]:
    """A journal of so many events; returns them."""
    events = [{"event": "asked", "ordinal": n, "text": "é\n"} for n in range(count)]
    with Journal(path) as journal:
        for event in events:
            journal.append(event["event"], ordinal=event["ordinal"], text=event["text"])
    return events


def read(path: Path) -> list[dict[str, Any]]:
    """All events, but for the time at which they came."""
    events = [dict(event) for event in read_events(path)]
    assert all(event.pop("at") >= 0 for event in events)
    return events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_events_come_back_in_their_order_without_the_header(path: Path) -> None:
    events = written(path)
    assert read(path) == events
    lines = path.read_bytes().split(b"\n")
    assert json.loads(lines[0]) == {"event": "header", "schema_version": 2}
    assert len(lines) == 1 + 3 + 1


def test_an_event_is_on_the_disk_when_append_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", watched)
    with Journal(path) as journal:
        journal.append("asked", ordinal=0)
        assert synced[-1] == path.read_bytes()
        assert b'"ordinal":0' in synced[-1]


def test_a_journal_is_gone_on_with(path: Path) -> None:
    events = written(path)
    with Journal(path) as journal:
        journal.append("ended")
    assert read(path) == [*events, {"event": "ended"}]


@pytest.mark.parametrize("left", range(1, 20))
def test_a_torn_last_line_is_skipped_by_readers_and_cut_off_by_writers(
    path: Path, left: int
) -> None:
    events = written(path)
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    path.write_bytes(whole[: last + left])
    assert read(path) == events[:-1]
    with Journal(path) as journal:
        journal.append("ended")
    assert read(path) == [*events[:-1], {"event": "ended"}]
    assert path.read_bytes().startswith(whole[:last])


@pytest.mark.parametrize("left", [0, 1, 10, 38])
def test_a_torn_header_is_written_again(path: Path, left: int) -> None:
    written(path, 0)
    path.write_bytes(path.read_bytes()[:left])
    assert written(path) == read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"notes of mine",
        b"notes of mine\n",
        b'{"event":"asked"}\n',
        b'{"event":"header","schema_version":1}\n{"event":"asked"}\n{"eve',
    ],
)
def test_a_file_that_is_no_journal_of_ours_is_refused_and_left_alone(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(NasError, match="is no journal of schema version 2") as caught:
        Journal(path)
    assert caught.value.exit_code == 4
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("line", "damage"),
    [
        (1, b"{}"),
        (1, b'{"event":"header","schema_version":1}'),
        (1, b'{"event":"asked"}'),
        (2, b'{"event":"asked","ordinal":'),
        (3, b""),
        (3, b"[1]"),
        (3, b'{"ordinal":1}'),
        (3, b'{"event":7}'),
        (3, b'{"event":"asked","ordinal":NaN}'),
        (3, b'{"event":"asked","event":"told"}'),
        (3, b"\xff\xfe"),
    ],
)
def test_a_damaged_line_is_named(path: Path, line: int, damage: bytes) -> None:
    written(path)
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(NasError, match=f"line {line}:|schema version") as caught:
        list(read_events(path))
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def test_a_missing_journal_is_an_error_of_the_run_folder(path: Path) -> None:
    with pytest.raises(NasError, match="cannot read") as caught:
        list(read_events(path))
    assert caught.value.exit_code == 4


def test_a_folder_in_its_place_is_an_error_of_the_surroundings(path: Path) -> None:
    path.mkdir()
    with pytest.raises(NasError, match="cannot open") as caught:
        Journal(path)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_refused_before_anything_is_written(path: Path, value: float) -> None:
    with Journal(path) as journal:
        before = path.read_bytes()
        with pytest.raises(ValueError, match="JSON compliant"):
            journal.append("finished", metrics={"accuracy": value})
        assert path.read_bytes() == before


def test_a_disk_that_cannot_keep_an_event_is_an_error_of_the_surroundings(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(NasError, match=r"cannot write .*: Input/output error") as caught, journal:
        journal.append("asked", ordinal=0)
    assert caught.value.exit_code == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_told_once_and_not_again_on_closing(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    with Path("/dev/full").open("ab", buffering=0) as full:
        journal._file = full
        with pytest.raises(NasError, match="No space left on device") as caught, journal:
            journal.append("asked", ordinal=0)
    assert caught.value.exit_code == 5


class FillsUp:
    """Takes seven bytes, then none."""

    def __init__(self, file: Any) -> None:
        self.file, self.room = file, 7

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken, self.room = self.file.write(data[: self.room]), 0
        return int(taken)

    def close(self) -> None:
        self.file.close()


def test_a_disk_that_fills_up_within_a_line_leaves_a_torn_line_only(path: Path) -> None:
    events = written(path)
    journal = Journal(path)
    journal._file = FillsUp(journal._file)  # type: ignore[assignment]
    with pytest.raises(NasError, match="No space left"), journal:
        journal.append("asked", ordinal=3)
    assert path.read_bytes().endswith(b'{"event')
    assert read(path) == events


def test_after_a_torn_line_nothing_is_appended(path: Path) -> None:
    events = written(path)
    journal = Journal(path)
    whole = journal._file
    journal._file = FillsUp(whole)  # type: ignore[assignment]
    with pytest.raises(NasError, match="No space left"):
        journal.append("asked", ordinal=3)
    journal._file = whole  # there is space again
    with pytest.raises(NasError, match="an earlier event could not be written"), journal:
        journal.append("asked", ordinal=3)
    assert read(path) == events
    Journal(path).close()
    assert written(path)[: len(events)] == events


def test_a_group_reaches_the_disk_as_a_whole_and_its_listener_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with Journal(path, lambda event: heard.append(event["event"])) as journal:
        waits = len(synced)
        with journal.group():
            journal.append("asked", ordinal=0)
            journal.append("started", ordinal=0)
            assert heard == ["asked", "started"]
            assert read(path) == []
            assert len(synced) == waits
        assert [event["event"] for event in read(path)] == heard
        assert len(synced) == waits + 1
        journal.append("told")
        assert len(synced) == waits + 2


def test_what_a_group_has_is_kept_where_it_ends_by_an_error(path: Path) -> None:
    with Journal(path) as journal:

        def group() -> None:
            with journal.group():
                journal.append("asked", ordinal=0)
                raise KeyError

        with pytest.raises(KeyError):
            group()
    assert [event["event"] for event in read(path)] == ["asked"]
