"""One piece of work at a time, done in a thread while the caller goes on."""

import threading
from collections.abc import Callable


class Background:
    """A place for one piece of work."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Starts work; the one before must have been waited for."""
        assert self._thread is None, "wait first"

        def run() -> None:
            try:
                work()
            except Exception as error:
                self._error = error

        # A daemon, because whoever leaves at once waits for nothing.
        self._thread = threading.Thread(target=run, name="background", daemon=True)
        self._thread.start()

    def is_done(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._thread is None or not self._thread.is_alive()

    def wait(self) -> Exception | None:
        """Waits for the work, if there is any; returns the error that ended it."""
        if self._thread is not None:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        return error
