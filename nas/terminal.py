"""Text on its way to a terminal: nothing that the terminal would obey, no fuss if it is gone."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO, final


def printable(text: str, *, keep: str = "") -> str:
    """``text`` with a space for every control character, those in ``keep`` excepted."""
    return "".join(sign if sign.isprintable() or sign in keep else " " for sign in text)


def escaped(text: str) -> str:
    """``text`` on one line, every control character and half character as its escape."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def say(text: str) -> None:
    """Write one line to stderr, or nothing if whoever read it has left."""
    try:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Send all that is still written to ``stream`` nowhere: its reader has left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextmanager
def stdout_kept() -> Iterator[None]:
    """Whatever is printed within goes to stderr, also from other languages and other processes.

    What Ray has to say of lost processes is dropped: the run says it in one line.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(_WithoutRay(sys.stderr)):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@final
class _WithoutRay(io.TextIOBase):
    """Passes text on, but for lines that Ray prints on behalf of its daemons."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._dropped = False

    def write(self, text: str) -> int:
        """Write, or drop; the line end that ``print`` writes by itself goes with its line."""
        if "(raylet)" in text[:20] or (self._dropped and text == "\n"):
            self._dropped = text != "\n"
            return len(text)
        self._dropped = False
        return self._stream.write(text)

    def flush(self) -> None:
        """Flush what text was passed on to."""
        self._stream.flush()
