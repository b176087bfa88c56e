"""Ctrl-C and SIGTERM: first an orderly stop, then an immediate one."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self, final

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupted(KeyboardInterrupt):
    """A run that was told to stop; its record is whole.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM.
        name: What told it.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message)
        self.number = number
        self.exit_code = 128 + number
        self.name = _NAMES.get(signal.Signals(number), f"signal {number}")


@final
class Interrupts:
    """Handles both signals while it is entered, in the main thread; elsewhere it does nothing.

    Within ``orderly`` the first signal is only noted, in ``requested``, and children that run have
    ``grace`` seconds to finish; the second, and the end of that time, raise ``Interrupted``.
    Outside it the first one raises.

    Args:
        grace: Seconds, at least 0.
        tell: Is told of the first signal, within the handler: it must not wait for anything.
    """

    def __init__(self, grace: float, tell: Callable[[str], None]) -> None:
        self._grace = grace
        self._tell = tell
        self._orderly = False
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None
        self.requested: int | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _NAMES:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, before in self._before.items():
            signal.signal(number, before)

    def again(self) -> None:
        """Take the handlers back from a library that has put its own in their place."""
        for number in self._before:
            signal.signal(number, self._handle)

    @contextmanager
    def orderly(self) -> Iterator[None]:
        """Where the first signal is noted, to be acted on by whoever asks ``requested``."""
        self._orderly = True
        try:
            yield
        finally:
            self._orderly = False
            if self._timer is not None:  # what follows has no limit
                self._timer.cancel()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None or not self._orderly:
            raise Interrupted(number if self.requested is None else self.requested)
        self.requested = number
        again = "" if number == signal.SIGTERM else "; Ctrl-C again to stop at once"
        self._tell(f"stopping: running children have {self._grace:g} s to finish{again}")
        self._timer = threading.Timer(self._grace, os.kill, (os.getpid(), number))
        self._timer.daemon = True
        self._timer.start()
