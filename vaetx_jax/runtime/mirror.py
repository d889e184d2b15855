"""A run's folder on this machine, mirrored to a store: what is uploaded when, and in what order.

A checkpoint is a folder `.../checkpoints/STEP`. Its files are uploaded first, then all other files
of the run that have changed (so that no row of metrics before the checkpoint is missing), then its
manifest: before that it is none. Older checkpoints that this machine has deleted are deleted there
after it, and the latest two there always stay. A kill at any moment thus leaves whole checkpoints,
and files without a manifest, which the next start removes.
"""

import contextlib
import os
import pathlib
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping

from vaetx_jax.errors import DamagedError
from vaetx_jax.runtime.manifest import MANIFEST, check_files
from vaetx_jax.runtime.store import Store, StoreError

TOGETHER = 8  # files that are under way at a time
KEEP = 2  # checkpoints that stay in the store though this machine has deleted them

_CHECKPOINT = re.compile(r"((?:.*/)?checkpoints)/(\d+)/(.+)")
_SHARED = re.compile(r"(?:.*/)?checkpoints/[^/]+\.safetensors")  # by all checkpoints of a run
_NEVER = re.compile(r"(?:.*/)?checkpoints/.+")
_LEASE = re.compile(r"lease-\d+\.json")

Stamp = tuple[int, int, int]


class Mirror:
    """The files of one folder and of its copy in a store.

    Args:
      folder: of this machine.
      store: its copy; nobody else writes there.
      staging: a folder of the same disk for files under way.
      last: a file that is uploaded after all others: it says that they are there.
    """

    def __init__(self, folder: pathlib.Path, store: Store, staging: pathlib.Path, last: str = ""):
        self._folder, self._store, self._staging, self._last = folder, store, staging, last
        self._there: set[str] = set()  # the names in the store
        self._sent: dict[str, Stamp] = {}  # files, and the manifests of checkpoints
        self.progressed = time.monotonic()  # when the store last took something

    @property
    def url(self) -> str:
        """Of the copy in the store."""
        return self._store.url

    def fetch(self, *, keep: bool) -> None:
        """Makes this machine's folder what the store has, before a run starts in it.

        Args:
          keep: this machine was the last to write to the store, so that its own files are as new or
            newer; only what it lacks is fetched. Otherwise its own files are removed.

        Raises:
          StoreError: the store does not answer.
        """
        if not keep:
            for path in self._folder.iterdir():
                if not path.name.startswith("."):  # the lock
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(self._staging, ignore_errors=True)
        self._there = set(self._store.list())
        files = {name for name in self._there if _is_file(name)}
        self._get({name for name in files if not (keep and (self._folder / name).exists())})
        for checkpoint in sorted(_checkpoints(self._there)):
            self.fetch_checkpoint(checkpoint)

    def fetch_files(self) -> None:
        """Downloads all for a reader; of the checkpoints the manifests alone.

        Raises:
          StoreError: the store does not answer.
        """
        self._there = set(self._store.list())
        manifests = {f"{checkpoint}/{MANIFEST}" for checkpoint in _checkpoints(self._there)}
        self._get(manifests | {name for name in self._there if _is_file(name)})

    def discard_incomplete(self) -> None:
        """Deletes what a kill during an upload has left in the store."""
        whole = _checkpoints(self._there)
        self._delete([name for name in self._there if _is_left_over(name, whole)])

    def sync(self, *, files: bool = True) -> None:
        """Uploads what has changed, the newest checkpoint first.

        Args:
          files: the other files, too, although there may be no new checkpoint.

        Raises:
          StoreError: the store does not take something; what was uploaded before stays.
        """
        while checkpoint := self._next_checkpoint():
            self._put_checkpoint(checkpoint)
            files = True
        if files:
            self.put_files()
            self._delete_files()
        self._delete_checkpoints()

    def put_files(self) -> list[str]:
        """Uploads the files outside of the checkpoints that have changed; returns their names."""
        paths = {name: self._folder / name for name in self._files_here()}
        last = {name: paths.pop(name) for name in [self._last] if name in paths}
        return self._put(paths) + self._put(last)

    def fetch_checkpoint(self, checkpoint: str) -> None:
        """Downloads a checkpoint, `checkpoints/STEP`, unless it is here whole.

        Raises:
          StoreError: the store does not answer.
        """
        path, staged = self._folder / checkpoint, self._staging / "fetched"
        manifest = self._store.read(f"{checkpoint}/{MANIFEST}")
        with contextlib.suppress(OSError, DamagedError):
            if (path / MANIFEST).read_bytes() == manifest:
                check_files(path)
                self._sent[checkpoint] = _stamp(path / MANIFEST)
                return
        for old in (path, staged):
            shutil.rmtree(old, ignore_errors=True)
        start = f"{checkpoint}/"
        names = {name for name in self._there if name.startswith(start)}
        self._get(names, {name: staged / name.removeprefix(start) for name in names})
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.rename(path)
        with contextlib.suppress(DamagedError):  # `Checkpoints` says so, and sets it aside
            check_files(path)
            self._sent[checkpoint] = _stamp(path / MANIFEST)

    def _get(self, names: set[str], paths: Mapping[str, pathlib.Path] | None = None) -> None:
        """Downloads files to where they belong, or to given paths.

        One that is gone is left out: a reader's folder may be in training.
        """
        targets = paths or {name: self._folder / name for name in names}
        for some in _batches(targets):
            try:
                self._store.get(some)
            except FileNotFoundError:
                for name, path in some.items():
                    with contextlib.suppress(FileNotFoundError):
                        self._store.get({name: path})
            if paths is None:
                self._sent |= {n: _stamp(path) for n, path in some.items() if path.exists()}

    def _next_checkpoint(self) -> str | None:
        """The newest checkpoint that is not in the store as it is here."""
        here = [
            path.relative_to(self._folder).as_posix()
            for parent in self._folder.glob("**/checkpoints")
            for path in parent.iterdir()
            if path.name.isdecimal()
        ]
        for checkpoint in sorted(here, key=_step_of, reverse=True):
            with contextlib.suppress(FileNotFoundError):  # deleted since
                if self._sent.get(checkpoint) != _stamp(self._folder / checkpoint / MANIFEST):
                    return checkpoint
        return None

    def _put_checkpoint(self, checkpoint: str) -> None:
        manifest, staged = f"{checkpoint}/{MANIFEST}", self._stage(checkpoint)
        if staged is None:
            return
        self._delete([manifest] if manifest in self._there else [])
        names = {path.relative_to(staged).as_posix() for path in staged.rglob("*")}
        names = {name for name in names if (staged / name).is_file()}
        self._put({f"{checkpoint}/{name}": staged / name for name in names - {MANIFEST}})
        self.put_files()
        if not all(f"{checkpoint}/{name}" in self._there for name in names - {MANIFEST}):
            raise StoreError(f"{self._store.url}/{checkpoint}: its files were not all uploaded")
        self._put({manifest: staged / MANIFEST})
        self._sent[checkpoint] = self._sent[manifest]
        others = {n for n in self._there if n.startswith(f"{checkpoint}/")}
        self._delete(others - {f"{checkpoint}/{name}" for name in names})
        shutil.rmtree(staged, ignore_errors=True)

    def _stage(self, checkpoint: str) -> pathlib.Path | None:
        """The checkpoint by hard links, so that the run may delete it; None: it has already."""
        staged, source = self._staging / checkpoint, self._folder / checkpoint
        shutil.rmtree(staged, ignore_errors=True)
        try:
            shutil.copytree(source, staged, copy_function=os.link)
        except (shutil.Error, OSError):
            if (source / MANIFEST).exists():
                raise
            return None
        return staged

    def _put(self, paths: Mapping[str, pathlib.Path]) -> list[str]:
        """Uploads the files that the store has not as they are; returns their names."""
        changed: dict[str, pathlib.Path] = {}
        stamps: dict[str, Stamp] = {}
        for name, path in paths.items():
            with contextlib.suppress(FileNotFoundError):  # deleted since
                stamps[name] = _stamp(path)
                if self._sent.get(name) != stamps[name] or name not in self._there:
                    changed[name] = path
        for some in _batches(changed):
            try:
                self._store.put(some)
            except FileNotFoundError:  # deleted since; the others come with the next look
                return []
            self._there |= some.keys()
            self._sent |= {name: stamps[name] for name in some}
            self.progressed = time.monotonic()
        return sorted(changed)

    def _files_here(self) -> list[str]:
        names = []
        for parent, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            here = pathlib.Path(parent).relative_to(self._folder)
            names += [(here / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(name for name in names if _is_file(name))

    def _delete_files(self) -> None:
        gone = {name for name in self._there if _is_file(name)} - set(self._files_here())
        self._delete(gone & self._sent.keys())

    def _delete_checkpoints(self) -> None:
        """Deletes those that this machine has deleted, but for the latest `KEEP`."""
        found = _checkpoints(self._there)
        for parent in {checkpoint.rpartition("/")[0] for checkpoint in found}:
            steps = sorted((c for c in found if c.rpartition("/")[0] == parent), key=_step_of)
            for old in steps[:-KEEP]:
                if not (self._folder / old).exists():
                    self._delete(n for n in self._there if n.startswith(f"{old}/"))
                    self._sent.pop(old, None)

    def _delete(self, names: Iterable[str]) -> None:
        """Deletes files in the store, manifests first."""
        for name in sorted(names, key=lambda name: (not name.endswith(MANIFEST), name)):
            self._store.delete([name])
            self._there.discard(name)
            self._sent.pop(name, None)


def _batches(paths: Mapping[str, pathlib.Path]) -> Iterator[dict[str, pathlib.Path]]:
    """The files in the order of their names, a few at a time."""
    names = sorted(paths)
    for first in range(0, len(names), TOGETHER):
        yield {name: paths[name] for name in names[first : first + TOGETHER]}


def _checkpoints(names: Iterable[str]) -> set[str]:
    """The checkpoints among the files of a store: those that have a manifest."""
    found = (_CHECKPOINT.fullmatch(name) for name in names)
    return {f"{match[1]}/{match[2]}" for match in found if match and match[3] == MANIFEST}


def _is_left_over(name: str, whole: set[str]) -> bool:
    """Whether a file is of a checkpoint that has no manifest."""
    match = _CHECKPOINT.fullmatch(name)
    return match is not None and f"{match[1]}/{match[2]}" not in whole


def _is_file(name: str) -> bool:
    """Whether a name is that of a file outside of the checkpoints."""
    return bool(_SHARED.fullmatch(name)) or not (_NEVER.fullmatch(name) or _LEASE.fullmatch(name))


def _step_of(checkpoint: str) -> int:
    return int(checkpoint.rpartition("/")[2])


def _stamp(path: pathlib.Path) -> Stamp:
    """Changes whenever the file does."""
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ino
