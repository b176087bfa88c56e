"""One process works on a run folder at a time."""

import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from filelock import FileLock, Timeout

from nas.errors import NasError

LOCK, HOLDER = ".lock", ".holder.json"
PATIENCE = 0.5  # seconds; ``held`` takes the lock for a moment


@final
class RunLock:
    """Holds a run folder for this process, as a context manager.

    The kernel frees the lock when the process ends, however it ends; the files stay.

    Args:
        folder: An existing folder.

    Raises:
        NasError: On entering, if another process holds it (exit code 4; the message says which),
            or the folder cannot be written (5).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / LOCK)

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=PATIENCE, poll_interval=PATIENCE / 10)
        except Timeout as error:
            raise NasError(
                f"run: {self._folder} is in use by {_named(holder(self._folder))}; "
                "wait for it or stop it",
                exit_code=4,
            ) from error
        except OSError as error:
            raise NasError(
                f"run: cannot lock {self._folder}: {error.strerror}", exit_code=5
            ) from error
        text = json.dumps({"pid": os.getpid(), "host": platform.node()})
        with suppress(OSError):  # only for messages
            (self._folder / HOLDER).write_text(text + "\n", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        (self._folder / HOLDER).unlink(missing_ok=True)
        self._lock.release()


def held(folder: Path) -> bool:
    """Whether a process holds the folder now."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return (folder / HOLDER).exists()  # not ours to lock: all that is left to go by


def holder(folder: Path) -> dict[str, Any]:
    """``pid`` and ``host`` of who holds, or last held without letting go; empty if unknown."""
    try:
        document = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _named(found: dict[str, Any]) -> str:
    if not found:
        return "another process"
    return f"process {found.get('pid')} on {found.get('host')}"
