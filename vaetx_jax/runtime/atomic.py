"""Files and folders that are written whole or not at all.

All is written under a temporary name in the same folder, hidden by a dot, and then renamed.
"""

import contextlib
import errno
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator
from typing import IO, Any

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # as under FUSE


@contextlib.contextmanager
def atomic_path(path: pathlib.Path, *, new: bool = False) -> Iterator[pathlib.Path]:
    """A path to write a file to, which takes the name `path` when the block ends.

    If the block raises, the file is removed and `path` stays as it was.

    Args:
      new: only if nobody has that name; of several that try at once one gets it.

    Raises:
      FileExistsError: `new`, and somebody has it.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        if new:
            _name_once(temporary, path)
        else:
            os.replace(temporary, path)
    except BaseException:  # Ctrl-C, too, leaves nothing behind
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def open_atomic(path: pathlib.Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """A file open for writing, which takes the name `path` when the block ends.

    Args:
      mode, options: as the builtin `open` has them.
    """
    with atomic_path(path) as temporary, temporary.open(mode, **options) as stream:
        yield stream


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file in UTF-8, whole or not at all."""
    with open_atomic(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def check_writable(path: pathlib.Path) -> None:
    """Tries to write beside a file, before its content is computed for minutes.

    Raises:
      OSError: the file cannot be written.
    """
    temporary = _temporary(path)
    try:
        temporary.touch()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    temporary.unlink()


@contextlib.contextmanager
def atomic_folder(folder: pathlib.Path, *, replace: bool = False) -> Iterator[pathlib.Path]:
    """A new folder to fill, which takes the name `folder` when the block ends.

    If the block raises, it is removed. Missing parents are created.

    Args:
      replace: a folder or file of that name gives way, as an empty folder always does.

    Raises:
      OSError: the name is taken, or the disk does not allow it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(folder)
    temporary.mkdir()
    try:
        yield temporary
        while not rename_folder(temporary, folder):
            if not replace:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
            remove(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # not there any more if all went well


def rename_folder(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Renames a folder unless the name is taken by a file or a folder with something in it.

    Returns:
      False if the name is taken.
    """
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def remove(path: pathlib.Path) -> None:
    """Removes a file or a folder, if there is one, from its name in one step."""
    temporary = _temporary(path)
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        os.rename(path, temporary)
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def _name_once(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Gives a whole file a name that nobody has; unlike a rename, it takes it from nobody.

    Raises:
      FileExistsError: somebody has it.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        mark = path.with_name(f".{path.name}.taken")
        mark.touch(exist_ok=False)  # by one of several
        try:
            if path.exists():
                raise FileExistsError(path) from None
            temporary.replace(path)
        finally:
            mark.unlink(missing_ok=True)  # or the name could never be given again
    else:
        temporary.unlink()


def _temporary(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
