"""The work folder of a command: a folder of this machine, or the scratch copy of a URL's.

The rest of the code sees a path of this machine. What belongs to a URL lies below
`$VAETX_CACHE/work`; a run's copy stays there, so that the same machine goes on from what it did not
get to upload, and a reader's is removed at the end.
"""

import atexit
import contextlib
import functools
import hashlib
import os
import pathlib
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator

import jax
from absl import flags

from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.runtime import distributed, processes, signals
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.console import notify
from vaetx_jax.runtime.lease import Holder, Lease, LostError
from vaetx_jax.runtime.manifest import MANIFEST
from vaetx_jax.runtime.mirror import Mirror
from vaetx_jax.runtime.paths import cache_root, scheme_of
from vaetx_jax.runtime.store import Store, StoreError, check_url, patiently
from vaetx_jax.runtime.uploads import Uploads

GRACE = 25.0  # seconds; a preempted machine usually has 30
_HOLDER = ".holder"  # the token of the hold on the lease with which a scratch folder was last used

# The readers' copies of this process.
_READ: dict[pathlib.Path, Mirror] = {}


def define_flags() -> None:
    """The flags of a command that writes a work folder."""
    flags.DEFINE_float(
        "grace",
        GRACE,
        "Seconds after a stop signal in which the last state is uploaded if --workdir is a URL.",
        lower_bound=0.0,
    )


class WorkFolder:
    """The folder that a run writes.

    Args:
      path: on this machine.
      url: of its copy in a store; empty: it has none.
    """

    def __init__(self, path: pathlib.Path, url: str = ""):
        self.path, self.url = path, url
        self._mirror: Mirror | None = None
        self._uploads: Uploads | None = None
        self._refused = False

    def share(self) -> None:
        """Gives all processes of a run what the first one has in its folder.

        Raises:
          UserError: the store does not answer.
        """
        if not self.url or not jax.distributed.is_initialized():
            return
        distributed.first_does(self._flush)
        if not processes.is_first():
            self._fetch(keep=True)

    def _flush(self) -> None:
        assert self._uploads is not None
        if not self._uploads.flush():
            raise UserError(
                f"{self.url}: could not be brought up to date. All is in {self.path} on this "
                "machine; the same command, given here, uploads it"
            )

    def _fetch(self, *, keep: bool) -> None:
        if self._mirror is None:
            self._mirror = Mirror(self.path, Store(self.url), _staging(self.path))
        mirror = self._mirror
        patiently(lambda: mirror.fetch(keep=keep))

    @contextlib.contextmanager
    def _mirrored(self, grace: float) -> Iterator[None]:
        """Holds the lease, fetches what is there, and uploads what the block makes."""
        store = patiently(lambda: Store(self.url))
        lease = Lease(store)
        patiently(lease.acquire)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: _leave_nothing(store) if self._refused else None)
            stack.enter_context(lease.kept(self._stop))  # given back before
            mirror = self._mirror = Mirror(self.path, store, _staging(self.path))
            take_over(mirror, self.path, lease.holder, lease.token)
            self._uploads = Uploads(mirror, self.url)
            try:
                yield
            except BaseException as error:
                # Whoever leaves at once, by a second signal, waits for nothing.
                within = 0.0 if isinstance(error, KeyboardInterrupt) else grace
                self._refused = self._finish(within) and isinstance(error, UserError)
                raise
            else:
                self._end(grace)
            finally:
                self._uploads.abandon()

    def _end(self, grace: float) -> None:
        """Waits for the uploads: for all of them, or after a signal as long as there is time."""
        within = time_left(grace)
        if within is None:
            self._flush()
        else:
            self._finish(within)

    def _finish(self, within: float) -> bool:
        assert self._uploads is not None
        done = self._uploads.flush(within=within)
        if not done:
            notify(
                f"warning: {self.url}: the last state could not be uploaded within --grace; it is "
                f"in {self.path} on this machine. The same command goes on from it here, and "
                "elsewhere from the newest checkpoint that was uploaded"
            )
        return done

    def _stop(self, error: LostError) -> None:
        """Ends a run whose folder another one has taken over."""
        notify(f"warning: {error}; nothing more is uploaded, and this run stops")
        if self._uploads:
            self._uploads.abandon()
        os.kill(os.getpid(), signal.SIGTERM)


def take_over(mirror: Mirror, folder: pathlib.Path, before: Holder | None, token: str) -> None:
    """Makes a folder what its store has, or newer, for the new holder of its lease.

    Args:
      mirror: of the folder.
      before: who held the lease; the folder's own files stay where it was this folder.
      token: of the new hold, which the folder keeps.

    Raises:
      UserError: the store does not answer.
    """
    mark = folder / _HOLDER
    own = before is not None and before.token != "" and before.token == _read(mark)
    if own:  # at once: who is interrupted here goes on from this folder, too
        write_text(mark, token)
    patiently(lambda: mirror.fetch(keep=own))
    patiently(mirror.discard_incomplete)
    write_text(mark, token)


def time_left(grace: float) -> float | None:
    """Seconds until a process that was asked to stop must end; None: it was not asked."""
    asked = signals.seconds_since_asked()
    return None if asked is None else max(grace - asked, 0.0)


def scratch_of(url: str) -> pathlib.Path:
    """The folder of this machine in which a command that writes to a URL works; it is made."""
    path = _scratch(url.rstrip("/")) / "run"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def open_to_write(given: str | pathlib.Path, *, grace: float = GRACE) -> Iterator[WorkFolder]:
    """The folder of a run or a study; all processes of a run must call it.

    The block sees a path of this machine. Of a URL, the newest state there is fetched before, and
    what the block writes is uploaded while it runs and at its end.

    Args:
      given: a path or a URL.
      grace: seconds from a stop signal to the end of the block.

    Raises:
      HeldError: another run is in the URL's folder.
      UserError: the store does not answer.
    """
    if not scheme_of(str(given)):
        yield WorkFolder(pathlib.Path(given))
        return
    url = str(given).rstrip("/")
    # Asked for only where there are several: it would take the devices from a study's cells.
    number = jax.process_index() if jax.distributed.is_initialized() else 0
    path = _scratch(url) / (f"process-{number}" if number else "run")
    path.mkdir(parents=True, exist_ok=True)
    work = WorkFolder(path, url)
    with contextlib.ExitStack() as stack:

        def begin() -> None:
            stack.enter_context(work._mirrored(grace))

        if jax.distributed.is_initialized():
            distributed.first_does(begin)
            if number:
                work._fetch(keep=False)
        else:
            begin()
        print(f"mirrored   {url}, here {path}", flush=True)
        yield work


def open_to_read(given: str) -> pathlib.Path:
    """A copy on this machine of a URL's folder, without the files of its checkpoints.

    `complete` brings those of one of them. The copy is removed at the end of the process.

    Raises:
      ConfigError: there can be no folder at this URL.
      UserError: the store does not answer.
    """
    check_url("folder", given)
    root = _scratch_root()
    root.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="read-", dir=root))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    path = scratch / "run"
    path.mkdir()
    mirror = Mirror(path, patiently(lambda: Store(given)), _staging(path))
    patiently(mirror.fetch_files)
    _READ[path] = mirror
    return path


def url_of(folder: pathlib.Path) -> str:
    """The URL whose copy `open_to_read` gave; empty for any other folder."""
    return _READ[folder].url if folder in _READ else ""


def complete(checkpoint: pathlib.Path) -> None:
    """Brings the files of a checkpoint of a folder that `open_to_read` gave; does nothing else.

    Args:
      checkpoint: the folder's `checkpoints/STEP`.
    """
    for folder, mirror in _READ.items():
        if checkpoint.resolve().is_relative_to(folder.resolve()):
            name = checkpoint.resolve().relative_to(folder.resolve()).as_posix()
            patiently(lambda: mirror.fetch_checkpoint(name))  # noqa: B023


@contextlib.contextmanager
def reading(given: str) -> Iterator[pathlib.Path]:
    """A folder to read, into which a command may write results; a URL's are uploaded at the end."""
    if not scheme_of(given):
        yield pathlib.Path(given)
        return
    path = open_to_read(given)
    yield path
    for name in patiently(_READ[path].put_files):
        print(f"uploaded: {given.rstrip('/')}/{name}")


@contextlib.contextmanager
def making(given: str) -> Iterator[pathlib.Path]:
    """A new folder; a URL's is uploaded at the end, its manifest last.

    Raises:
      ConfigError: there is something at that URL.
      UserError: the store does not answer.
    """
    if not scheme_of(given):
        yield pathlib.Path(given)
        return
    store = patiently(lambda: Store(given))
    if patiently(store.list):
        raise ConfigError(f"--to={given}: this already exists; give a new folder")
    with tempfile.TemporaryDirectory(prefix="vaetx-to-") as scratch:
        path = pathlib.Path(scratch) / "folder"
        yield path
        names = [p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()]
        for name in sorted(names, key=lambda name: (name == MANIFEST, name)):
            patiently(functools.partial(store.put, {name: path / name}))
        print(f"uploaded: {len(names)} files to {given}")


def _leave_nothing(store: Store) -> None:
    """Removes a folder that holds no more than its lease: what was refused left nothing behind."""
    with contextlib.suppress(StoreError):
        names = store.list()
        if all(name.startswith("lease-") for name in names):
            store.delete(names)


def _scratch_root() -> pathlib.Path:
    return cache_root() / "work"


def _scratch(url: str) -> pathlib.Path:
    """The folder of this machine for a URL, named after it."""
    name = re.sub(r"[^\w.-]+", "-", url)[-60:].strip("-")
    return _scratch_root() / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _staging(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.name}-staged")


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
