"""The truth of a run: ``events.jsonl``, one event a line, appended and flushed to disk."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from nas.errors import NasError
from search_spaces.strict_json import JsonError, dumps, loads

SCHEMA_VERSION = 2

Event = Mapping[str, Any]

_HEADER: dict[str, Any] = {"event": "header", "schema_version": SCHEMA_VERSION}


@final
class Journal:
    """Appends events; the only writer of its file.

    An event is a JSON object with ``event``, ``at`` (seconds since this process opened the
    journal) and what belongs to it; ``nas.record`` says which there are. When ``append`` returns,
    the event is on the disk, or will be with the rest of its group.

    Args:
        path: The file. A torn last line, left by a process that died while writing, is cut off.
        listener: Is handed every event that is appended; None for nobody.

    Raises:
        NasError: If the file cannot be opened (exit code 5), or is no journal of this version (4);
            it is left as it was then.
    """

    def __init__(self, path: Path, listener: Callable[[Event], None] | None = None) -> None:
        self._path = path
        self._listener = listener
        self._begin = time.monotonic()
        self._lines = b""
        self._groups = 0  # that are open, one within the other
        self._failed = False
        _cut_torn_line(path)
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise NasError(f"journal: cannot open {path}: {error.strerror}", exit_code=5) from error
        if self._file.tell() == 0:
            self._lines = _line(_HEADER)
            self._write()

    def append(self, event: str, **values: Any) -> None:
        """Add one event and wait until it is on the disk, unless it is one of a group.

        Raises:
            NasError: If it cannot be written (exit code 5), as on a full disk; from then on nothing
                can be, as the last line may be torn.
            ValueError: If a value is NaN or infinite.
        """
        whole = {"event": event, "at": round(time.monotonic() - self._begin, 3), **values}
        self._lines += _line(whole)
        if not self._groups:
            self._write()
        if self._listener is not None:
            self._listener(whole)

    @contextmanager
    def group(self) -> Iterator[None]:
        """Events appended within go to the disk together, when it ends: one wait instead of many.

        Nothing outside this process may have seen any of them before that. A group within a group
        ends with the outer one.
        """
        self._groups += 1
        try:
            yield
        finally:
            self._groups -= 1
            if not self._groups:
                self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, b""
        if not lines:
            return
        if self._failed:
            raise NasError(
                f"journal: an earlier event could not be written to {self._path}", exit_code=5
            )
        self._failed = True  # until they are on the disk
        try:
            while lines:  # a disk that fills up takes a part first
                lines = lines[self._file.write(lines) :]
            os.fsync(self._file.fileno())
            self._failed = False
        except OSError as error:
            raise NasError(
                f"journal: cannot write {self._path}: {error.strerror}; free space, then go on "
                f"with: nas resume {self._path.parent}",
                exit_code=5,
            ) from error

    def close(self) -> None:
        """Close the file; later calls of ``append`` fail."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a journal in their order, the header left out; a torn last line is skipped.

    Raises:
        NasError: If the file cannot be read, another line is damaged, or the version is another
            (exit code 4).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NasError(f"journal: cannot read {path}: {error.strerror}", exit_code=4) from error
    lines = data.split(b"\n")[:-1]  # what follows the last newline was never finished
    for number, line in enumerate(lines, start=1):
        try:
            event = loads(line)
        except JsonError as error:
            raise NasError(f"journal: {path} line {number}: {error}", exit_code=4) from error
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise NasError(f"journal: {path} line {number}: is not an event", exit_code=4)
        if number > 1:
            yield event
        elif event["event"] != "header" or event.get("schema_version") != SCHEMA_VERSION:
            raise NasError(
                f"journal: {path} must have schema version {SCHEMA_VERSION}, got "
                f"{event.get('schema_version')!r}",
                exit_code=4,
            )


def _line(event: dict[str, Any]) -> bytes:
    return dumps(event).encode() + b"\n"


def _cut_torn_line(path: Path) -> None:
    """Cut off what follows the last newline, if the file is a journal."""
    try:
        with path.open("r+b") as file:
            data = file.read()
            end = data.rfind(b"\n") + 1
            head = _line(_HEADER)
            if not data.startswith(head) and not (end == 0 and head.startswith(data)):
                raise NasError(
                    f"journal: {path} is no journal of schema version {SCHEMA_VERSION}", exit_code=4
                )
            if end != len(data):
                file.truncate(end)
    except FileNotFoundError:
        return
    except OSError as error:
        raise NasError(f"journal: cannot open {path}: {error.strerror}", exit_code=5) from error
