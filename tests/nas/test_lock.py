"""One process at a time in a run folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.errors import NasError
from nas.lock import RunLock, held, holder

HOLD = """
import sys
from pathlib import Path
from nas.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_at_once_with_the_holder(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    begin = time.monotonic()
    with pytest.raises(NasError, match=f"in use by process {other.pid} on ") as caught:
        RunLock(tmp_path).__enter__()
    assert caught.value.exit_code == 4
    assert time.monotonic() - begin < 5
    assert held(tmp_path)
    assert holder(tmp_path)["pid"] == other.pid


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert not held(tmp_path)
    with RunLock(tmp_path):
        assert holder(tmp_path)["pid"] == os.getpid()
        assert held(tmp_path)
    assert not held(tmp_path)
    assert holder(tmp_path) == {}


def test_whoever_looks_does_not_stand_in_the_way(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert all(held(tmp_path) for _ in range(20))
    for _ in range(20):
        assert not held(tmp_path)
        with RunLock(tmp_path):
            pass


def test_a_folder_without_a_lock_is_free_and_stays_as_it_is(tmp_path: Path) -> None:
    assert not held(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[1]", "7"])
def test_a_damaged_note_of_the_holder_is_no_obstacle(tmp_path: Path, text: str) -> None:
    (tmp_path / ".holder.json").write_text(text)
    assert holder(tmp_path) == {}
    with RunLock(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_an_error_of_the_surroundings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NasError, match="cannot lock") as caught:
        RunLock(tmp_path / "file").__enter__()
    assert caught.value.exit_code == 5
