"""Files in an object store that fsspec knows, named by their paths below one URL.

A `Store` tries each operation once and raises `StoreError` if the store does not answer; retrying
is left to the caller (`Mirror`, `patiently`).
"""

import contextlib
import errno
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.runtime.atomic import atomic_path
from vaetx_jax.runtime.console import notify
from vaetx_jax.runtime.paths import scheme_of

# Scheme -> the extra of this package that brings its library.
_EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3", "s3a": "s3"}
_NOT_FOR_FOLDERS = {"http", "https", "data", "git", "github", "gist", "zip", "tar", "libarchive"}
_NOT_FOR_FOLDERS |= {"reference", "cached", "blockcache", "filecache", "simplecache"}

_OF_THIS_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each further try of `patiently`

_T = TypeVar("_T")


class StoreError(UserError):
    """An operation of the store failed; it may succeed later."""


def check_url(name: str, url: str) -> None:
    """Checks that a URL's scheme is known and its library installed; asks no server.

    Args:
      name: the flag, for the message.

    Raises:
      ConfigError: it is not.
    """
    from fsspec.registry import available_protocols, get_filesystem_class, known_implementations

    scheme = scheme_of(url)
    if scheme in _NOT_FOR_FOLDERS or scheme not in available_protocols():
        raise ConfigError(
            f"{name} = {url!r}: no folder can be kept at {scheme}://; give a path, gs://, s3:// or "
            "another scheme that fsspec can write to"
        )
    try:
        get_filesystem_class(scheme)
    except ImportError as error:
        if scheme in _EXTRAS:
            how = f"pip install 'vaetx-jax[{_EXTRAS[scheme]}]'"
        else:
            how = known_implementations[scheme].get("err", str(error))
        raise ConfigError(
            f"{name} = {url!r}: a library is missing for {scheme}://: {how}"
        ) from None
    if not url.removeprefix(f"{scheme}://").strip("/"):
        raise ConfigError(f"{name} = {url!r}: name a folder behind {scheme}://")


class Store:
    """The files below one URL. All names are relative, with `/`.

    Args:
      url: of the folder; it need not exist.
    """

    def __init__(self, url: str):
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        self.url = url.rstrip("/")
        with self._errors("opened"):
            self._fs, root = fsspec.url_to_fs(self.url)
        self._root = str(root).rstrip("/")
        self._is_local = isinstance(self._fs, LocalFileSystem)

    def put(self, paths: Mapping[str, pathlib.Path]) -> None:
        """Uploads files, several at a time; each is there whole or not at all.

        Args:
          paths: name in the store -> file of this machine.

        Raises:
          FileNotFoundError: one is not on this machine any more.
          StoreError: the store does not take one.
        """
        for path in paths.values():
            path.stat()  # a missing one is the caller's matter, not the store's
        with self._errors("written", next(iter(paths), "")):
            if self._fs.async_impl:
                self._fs.put([str(path) for path in paths.values()], [*map(self._at, paths)])
                return
            for name, path in paths.items():
                if self._is_local:
                    with self._local(name) as temporary:
                        shutil.copyfile(path, temporary)
                else:
                    self._fs.put_file(str(path), self._at(name))

    def write(self, name: str, content: bytes, *, new: bool = False) -> bool:
        """Writes a small file, whole or not at all.

        Args:
          new: only where there is none of that name; of several that try at once one succeeds (in
            stores that have no such operation, which are none of the large ones, perhaps more).

        Returns:
          False: there is one, and `new` was asked for.

        Raises:
          StoreError: the store does not take it.
        """
        taken = (FileExistsError,) if new else ()
        with contextlib.suppress(*taken), self._errors("written", name, *taken):
            if self._is_local:
                with self._local(name, new=new) as temporary:
                    temporary.write_bytes(content)
            else:
                mode = {"mode": "create"} if new else {}
                self._fs.pipe_file(self._at(name), content, **mode)
            return True
        return False

    def modified(self, name: str) -> float | None:
        """When a file was written last, in seconds since 1970; None: there is none.

        Raises:
          StoreError: the store does not answer.
        """
        with contextlib.suppress(FileNotFoundError), self._errors("read", name, FileNotFoundError):
            return float(self._fs.modified(self._at(name)).timestamp())
        return None

    def read_end(self, name: str, size: int, most: int) -> bytes:
        """The last bytes of a file that had a size; empty: it is gone.

        Raises:
          StoreError: the store does not answer.
        """
        with contextlib.suppress(FileNotFoundError), self._errors("read", name, FileNotFoundError):
            first = max(size - most, 0)
            content: bytes = self._fs.cat_file(self._at(name), start=first, end=size)
            return content
        return b""

    def read(self, name: str) -> bytes | None:
        """A file's content; None: there is none.

        Raises:
          StoreError: the store does not answer.
        """
        with contextlib.suppress(FileNotFoundError), self._errors("read", name, FileNotFoundError):
            content: bytes = self._fs.cat_file(self._at(name))
            return content
        return None

    def get(self, paths: Mapping[str, pathlib.Path]) -> None:
        """Downloads files, several at a time; none of a broken download takes its name.

        Args:
          paths: name in the store -> file of this machine.

        Raises:
          FileNotFoundError: one is not there.
          StoreError: the store does not answer.
          OSError: a file cannot be written on this machine.
        """
        with contextlib.ExitStack() as stack:
            temporary = []
            for path in paths.values():
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.append(str(stack.enter_context(atomic_path(path))))
            with self._errors("read", next(iter(paths), ""), FileNotFoundError):
                if self._fs.async_impl:
                    self._fs.get([*map(self._at, paths)], temporary)
                    return
                for name, target in zip(paths, temporary, strict=True):
                    self._fs.get_file(self._at(name), target)

    def list(self, below: str = "", *, deep: bool = True) -> dict[str, int]:
        """All files, name -> size in bytes.

        Args:
          below: only those of this folder,
          deep: and of the folders in it.

        Raises:
          StoreError: the store does not answer.
        """
        found: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(FileNotFoundError), self._errors("read", below, FileNotFoundError):
            self._fs.invalidate_cache()
            depth = None if deep else 1
            found = self._fs.find(self._at(below), maxdepth=depth, detail=True)
        start = len(self._root) + 1
        named = {path[start:]: int(info["size"]) for path, info in found.items()}
        return {name: size for name, size in named.items() if name and not _is_hidden(name)}

    def delete(self, names: Iterable[str]) -> None:
        """Deletes files, in order; one that is not there is no error.

        Raises:
          StoreError: the store does not answer.
        """
        for name in names:
            with (
                contextlib.suppress(FileNotFoundError),
                self._errors("deleted", name, FileNotFoundError),
            ):
                self._fs.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @contextlib.contextmanager
    def _local(self, name: str, *, new: bool = False) -> Iterator[pathlib.Path]:
        """A file of a mounted disk to write, which takes its name when it is whole."""
        path = pathlib.Path(self._at(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, new=new) as temporary:
            yield temporary

    @contextlib.contextmanager
    def _errors(self, what: str, name: str = "", *passed: type[Exception]) -> Iterator[None]:
        """Turns the errors of all libraries into one: they have no common base.

        Args:
          what: was asked for, as a participle.
          passed: errors that are an answer, and are passed on.
        """
        try:
            yield
        except passed:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _OF_THIS_DISK:
                raise
            text = " ".join(str(error).split())[:200]
            where = f"{self.url}/{name}".rstrip("/")
            raise StoreError(
                f"{where}: cannot be {what} ({type(error).__name__}: {text})"
            ) from error


def _is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")


def patiently(work: Callable[[], _T], sleep: Callable[[float], None] = time.sleep) -> _T:
    """The result of `work`, which is tried again a few times while the store does not answer.

    Raises:
      StoreError: it did not, half a minute long.
    """
    for pause in PAUSES:
        try:
            return work()
        except StoreError as error:
            notify(f"warning: {error}; it is tried again in {pause:.0f} s")
            sleep(pause)
    return work()
