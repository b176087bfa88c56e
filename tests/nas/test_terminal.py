"""What reaches a terminal holds nothing that it would obey."""

import os
import subprocess
import sys
from io import TextIOWrapper

import pytest

from nas.terminal import discard, printable, say, stdout_kept


def test_control_characters_become_spaces() -> None:
    assert printable("a\x1b[31mb\r\n\x07\x9b\u202ec\udcff é") == "a [31mb     c  é"
    assert printable("a\nb\x1b", keep="\n") == "a\nb "


def test_a_line_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\ntwo")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "one two\n")


def test_a_reader_that_left_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with TextIOWrapper(os.fdopen(writing, "wb", buffering=0), encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        say("nobody hears")
        say("nor this")


def test_what_is_discarded_goes_nowhere() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        discard(stream)
        stream.write("x" * 100_000)
        stream.flush()
    with os.fdopen(reading, "rb") as other:
        assert other.read() == b""


def test_what_is_printed_within_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with stdout_kept():
        print("from Python")  # noqa: T201 - on purpose
        os.write(1, b"from C\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        print("\x1b[33m(raylet)\x1b[0m a worker died")  # noqa: T201 - as Ray does
        print("after")  # noqa: T201 - on purpose
    print("ours")  # noqa: T201 - on purpose
    captured = capfd.readouterr()
    assert captured.out == "ours\n"
    assert sorted(captured.err.splitlines()) == ["after", "from C", "from Python", "from a child"]
