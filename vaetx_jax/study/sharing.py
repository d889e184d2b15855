"""The cells of a study's folder, which several hosts may share: who works on one holds its lease.

A lease is the object `leases/CELL-NUMBER.json` of the study's folder. Where that is on a disk that
all hosts see, there is no more to do. Where it is in an object store, the host that takes a cell
fetches it, uploads what it writes while it has the lease, the seal last, and gives the lease back
when all is there; of the cells of others it fetches what the tables need.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import time

from vaetx_jax.run.workdir import CELLS, CHECKPOINTS, ERROR, LEASES, SEAL
from vaetx_jax.runtime import signals
from vaetx_jax.runtime.console import notify
from vaetx_jax.runtime.lease import Holder, Lease, LostError
from vaetx_jax.runtime.mirror import Mirror
from vaetx_jax.runtime.store import Store, patiently
from vaetx_jax.runtime.uploads import Uploads
from vaetx_jax.runtime.work_folder import GRACE, take_over, time_left

LOOK_EVERY = 3.0  # seconds between two looks at the leases of others


class SharedCells:
    """The cells of a study.

    Args:
      folder: the study's folder on this machine; the cells are in `folder/cells`.
      url: of the study's folder where that is in an object store; empty: it is `folder`.
      grace: seconds from a stop signal to the end of the uploads.

    Raises:
      StoreError: the store does not answer.
    """

    def __init__(self, folder: pathlib.Path, url: str = "", *, grace: float = GRACE):
        self.folder, self._url, self._grace = folder / CELLS, url.rstrip("/"), grace
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = patiently(lambda: Store(self._url or str(folder.resolve())))
        self._leases: dict[str, Lease] = {}
        self._mirrors: dict[str, Mirror] = {}
        self._uploads: dict[str, Uploads] = {}
        self._mine: set[str] = set()

    @property
    def is_remote(self) -> bool:
        """Whether the cells of others are not on this machine whole."""
        return bool(self._url)

    def take(self, name: str, stack: contextlib.ExitStack) -> bool:
        """Takes a cell if it is free or its holder is dead; it may be called again and again.

        Args:
          stack: gives the cell back, uploaded, when it is closed.

        Raises:
          StoreError: the store does not answer.
        """
        lease = self._lease(name)
        if not patiently(lease.try_acquire):
            return False
        before = lease.holder
        self._mine.add(name)
        stack.callback(self._mine.discard, name)
        stack.enter_context(lease.kept(lambda error: self._stop(name, error)))
        if before and not before.released:
            notify(f"note: {name}: the lease of {before.describe()}, which is gone, is taken over")
        if self._url:
            self._fetch(name, lease, before)
            stack.callback(self._end, name)
        return True

    def mine(self) -> list[str]:
        """The cells that this host holds."""
        return sorted(self._mine)

    def begin(self, name: str) -> None:
        """Uploads from now on what is written into a cell that was taken."""
        if self._url:
            self._uploads[name] = Uploads(self._mirrors[name], f"{self._url}/{CELLS}/{name}")

    def lives(self, name: str) -> bool:
        """Whether the holder gave a sign of life between two calls of `take`."""
        return self._lease(name).renewed

    def holder(self, name: str) -> Holder | None:
        """Who holds a cell now, as far as is known; None: nobody."""
        found = patiently(self._lease(name).look)
        return None if found is None or found.is_dead() else found

    def pause(self) -> bool:
        """Waits until the leases of others are worth another look; True: a signal asks to stop."""
        with signals.StopSignals() as stop:
            time.sleep(LOOK_EVERY)
        return stop.asked

    def error(self, name: str) -> bytes:
        """What a cell's last failure left; empty: it has not failed."""
        return patiently(lambda: self.store.read(f"{CELLS}/{name}/{ERROR}")) or b""

    def look(self, name: str) -> bool:
        """Fetches what tables need of a cell that another host has finished.

        Returns:
          Whether the cell's files on this machine may have changed.
        """
        if not self._url or self.holder(name):  # which may be at work in this very folder
            return False
        folder, seal = self.folder / name, f"{CELLS}/{name}/{SEAL}"
        there = patiently(lambda: self.store.read(seal))
        here = (folder / SEAL).read_bytes() if (folder / SEAL).exists() else None
        if there is None or there == here:
            return False
        below = f"{CELLS}/{name}/"
        names = patiently(lambda: self.store.list(below.rstrip("/")))
        wanted = [n for n in names if not n.removeprefix(below).startswith(f"{CHECKPOINTS}/")]
        shutil.rmtree(folder, ignore_errors=True)  # an older state of this cell
        paths = {n: folder / n.removeprefix(below) for n in wanted if n != seal}
        with contextlib.suppress(FileNotFoundError):  # it is being evaluated again
            patiently(lambda: self.store.get(paths))
            patiently(lambda: self.store.get({seal: folder / SEAL}))
        return True

    def clear(self, name: str) -> None:
        """Deletes a cell in the object store, whose damaged copy here was set aside."""
        if not self._url:
            return
        if uploads := self._uploads.pop(name, None):
            uploads.abandon()
            uploads.join()
        below = f"{CELLS}/{name}"
        found = sorted(patiently(lambda: self.store.list(below)), key=lambda n: (SEAL not in n, n))
        patiently(lambda: self.store.delete(found))
        self._mirrors[name] = self._mirror(name)

    def put(self, paths: list[pathlib.Path]) -> None:
        """Uploads files of the study's own folder."""
        if self._url:
            patiently(lambda: self.store.put({path.name: path for path in paths}))

    def _lease(self, name: str) -> Lease:
        return self._leases.setdefault(name, Lease(self.store, f"{LEASES}/{name}"))

    def _mirror(self, name: str) -> Mirror:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(f"{self._url}/{CELLS}/{name}")
        return Mirror(folder, store, self.folder.parent / f".{name}-staged", last=SEAL)

    def _fetch(self, name: str, lease: Lease, before: Holder | None) -> None:
        """Makes the cell on this machine what is in the store, or newer."""
        mirror = self._mirror(name)
        take_over(mirror, self.folder / name, before, lease.token)
        self._mirrors[name] = mirror

    def _end(self, name: str) -> None:
        """Waits for the uploads: for all of them, or after a signal as long as there is time."""
        uploads = self._uploads.pop(name, None)
        if uploads is None:
            return
        if not uploads.flush(within=time_left(self._grace)):
            notify(
                f"warning: {name}: the new files could not be uploaded; it is in "
                f"{self.folder / name} on this machine. The same command, given here, goes on"
            )
        uploads.abandon()

    def _stop(self, name: str, error: LostError) -> None:
        """Ends this study, whose cell another host has taken over."""
        notify(f"warning: {name}: {error}; this study stops")
        if uploads := self._uploads.get(name):
            uploads.abandon()
        os.kill(os.getpid(), signal.SIGTERM)
