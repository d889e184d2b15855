"""A thread that uploads what a run writes while it trains, whatever the store does."""

import math
import threading
import time

from vaetx_jax.runtime.console import notify
from vaetx_jax.runtime.mirror import Mirror
from vaetx_jax.runtime.store import StoreError

LOOK_EVERY = 1.0  # seconds between two looks for a new checkpoint
FILES_EVERY = 30.0  # seconds between two uploads of metrics and the like, without a checkpoint
PATIENCE = 900.0  # seconds that the end of a run waits for a store that takes nothing
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a failed upload is tried again
URGENT_PAUSE = 2.0  # seconds at most, while somebody waits for it


class Uploads:
    """A thread that keeps a store as its `Mirror`'s folder is, whatever the store does.

    Args:
      mirror: of the run's folder.
      url: of the store, for the messages.
    """

    def __init__(self, mirror: Mirror, url: str):
        self._mirror, self._url = mirror, url
        self._wake, self._urgent, self._abandoned = (threading.Event() for _ in range(3))
        self._done = threading.Condition()
        self._passes = 0  # over all files, to their end
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
        self._thread.start()

    def flush(self, *, within: float | None = None) -> bool:
        """Waits until all that is in the folder now is in the store; False: it is not.

        Args:
          within: seconds to wait at most; None: until the store has taken nothing for `PATIENCE`.
        """
        began = time.monotonic()
        self._urgent.set()
        with self._done:
            wanted = self._passes + 2  # the pass under way may have passed over something
            while self._passes < wanted and self._thread.is_alive():
                self._wake.set()
                now = time.monotonic()
                last = began if within is not None else max(self._mirror.progressed, began)
                if now - last > (PATIENCE if within is None else within):
                    break
                self._done.wait(0.2)
            self._urgent.clear()
            return self._passes >= wanted

    def abandon(self) -> None:
        """Ends the uploads, as soon as the file under way is done with; nothing is waited for."""
        for event in (self._abandoned, self._urgent, self._wake):
            event.set()

    def join(self) -> None:
        """Waits for the end after `abandon`, unless the store hangs."""
        self._thread.join(URGENT_PAUSE)

    def _work(self) -> None:
        pause, files_at = FIRST_PAUSE, -math.inf
        while not self._abandoned.is_set():
            asked = self._wake.is_set()
            self._wake.clear()
            now = time.monotonic()
            due = asked or now - files_at >= FILES_EVERY
            try:
                self._mirror.sync(files=due)
            except Exception as error:  # whatever it is, the training goes on
                self._failed(error)
                if self._urgent.is_set():
                    self._abandoned.wait(min(pause, URGENT_PAUSE))
                else:
                    self._urgent.wait(pause)
                pause = min(2.0 * pause, LONGEST_PAUSE)
                continue
            if self._failing:
                notify(f"note: {self._url} answers again; what was missing there is uploaded")
            pause, self._failing = FIRST_PAUSE, False
            if due:
                files_at = now
                with self._done:
                    self._passes += 1
                    self._done.notify_all()
            self._wake.wait(LOOK_EVERY)

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            what = error if isinstance(error, StoreError) else f"{self._url}: {error!r}"
            notify(f"warning: {what}; the training goes on, and it is tried again")
