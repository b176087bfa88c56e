"""Text on its way to a terminal: nothing that the terminal would obey, no fuss if it is gone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


def printable(text: str, *, keep: str = "") -> str:
    """``text`` with a space for every control character, those in ``keep`` excepted."""
    return "".join(sign if sign.isprintable() or sign in keep else " " for sign in text)


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
    """Whatever is printed within goes to stderr, also from other languages and other processes."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
