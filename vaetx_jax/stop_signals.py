"""How a long job is asked to stop: by SIGINT (Ctrl-C) or SIGTERM."""

import signal
import threading
from typing import Any


class StopSignals:
    """SIGINT and SIGTERM ask to stop after this step; a second one leaves at once."""

    asked = False

    def __enter__(self) -> "StopSignals":
        numbers: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread():
            numbers = ()  # Python hands signals to the main thread alone
        self._before = {s: signal.getsignal(s) for s in numbers}
        for number in self._before:
            signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(self, *error: object) -> None:
        self._restore()
