"""What reaches a terminal holds nothing that it would obey."""

import os
import sys
from io import TextIOWrapper

import pytest

from nas.terminal import discard, printable, say


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
