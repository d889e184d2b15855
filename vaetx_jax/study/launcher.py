"""The process that trains cells (`cell_process`), as the study that starts it sees it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from vaetx_jax.runtime.signals import STOPPED
from vaetx_jax.study.messages import Event, Order

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class CellProcess:
    """Runs `cell_process` on an order while a `with` block reads its events.

    A signal that asks to stop is passed on, so that the cell is saved; the exit status is then
    `STOPPED` whatever the process was doing. The process has a session of its own: a Ctrl-C in the
    terminal reaches it through this class, and once.
    """

    def __init__(self, order: Order):
        self._order = order
        self._stop_requested = False

    def __enter__(self) -> "CellProcess":
        reading, writing = os.pipe()
        self._events = os.fdopen(reading, encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vaetx_jax.study.cell_process", str(writing)],
            stdin=subprocess.PIPE,
            pass_fds=[writing],
            start_new_session=True,
            text=True,
        )
        os.close(writing)
        self._handlers = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
        for number in _STOP_SIGNALS:
            signal.signal(number, self._stop)
        return self

    def events(self) -> Iterator[Event]:
        """Gives the order to the process, then its events as they come."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended, as its exit status will show
            self._process.stdin.write(self._order.to_json() + "\n")
            self._process.stdin.flush()
        for line in self._events:
            yield Event.from_json(line)

    def wait(self) -> int:
        """The exit status of the process; negative: the signal that ended it."""
        status = self._process.wait()
        return STOPPED if self._stop_requested else status

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        self._events.close()
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _stop(self, number: int, frame: Any) -> None:
        self._stop_requested = True
        self._process.send_signal(signal.SIGTERM)
