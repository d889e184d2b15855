"""Handlers of SIGINT (Ctrl-C) and SIGTERM, which ask a long job to stop."""

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Any

STOPPED = 75  # exit status: 'stopped, resume me'


def exit_immediately() -> None:
    """Makes SIGINT and SIGTERM end the process at once, for the time of the imports.

    Python's own way is an exception in the middle of some import, which may swallow it.
    """

    def leave(number: int, frame: Any) -> None:
        with contextlib.suppress(OSError, AttributeError):  # it may be closed
            os.write(sys.stderr.fileno(), b"interrupted before it began\n")
        os._exit(STOPPED)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)


def restore_default_handlers() -> None:
    """Restores Python's own handlers."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def seconds_since_asked() -> float | None:
    """Seconds since a signal asked this process to stop; None: none has."""
    return None if StopSignals.asked_at is None else time.monotonic() - StopSignals.asked_at


class StopSignals:
    """SIGINT and SIGTERM ask to stop after this step; a second one leaves at once."""

    asked = False
    asked_at: float | None = None  # of the process, by the monotonic clock

    def __enter__(self) -> "StopSignals":
        numbers: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread():
            numbers = ()  # Python hands signals to the main thread alone
        self._before = {s: signal.getsignal(s) for s in numbers}
        for number in self._before:
            signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.asked, StopSignals.asked_at = True, time.monotonic()
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(self, *error: object) -> None:
        self._restore()
