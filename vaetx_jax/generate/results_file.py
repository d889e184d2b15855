"""Where results go: standard output, a device or a pipe, or a file that is written whole."""

import contextlib
import pathlib
import sys
from collections.abc import Iterator
from typing import IO

from vaetx_jax.data.decoded_lines import OPENERS
from vaetx_jax.errors import UserError
from vaetx_jax.runtime.atomic import atomic_path

STANDARD_OUTPUT = "-"


def results_path(given: str) -> pathlib.Path:
    """The file that a name stands for: behind a link, the file that it points to.

    Raises:
      UserError: it is a folder, or in a folder that does not exist.
    """
    path = pathlib.Path(given)
    path = path.resolve() if path.is_symlink() and not is_stream(path) else path
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"--output={given}: give a file in a folder that exists")
    return path


def is_stream(path: pathlib.Path) -> bool:
    """Whether it is a device or a pipe, which is written to and never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def open_results(given: str) -> Iterator[IO[str]]:
    """A stream for text in UTF-8.

    Args:
      given: `-` for standard output, or a file, which has its name only when it is whole and is
        compressed if its name says so.
    """
    if given == STANDARD_OUTPUT:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # whatever the terminal's language is
        yield sys.stdout
        sys.stdout.flush()
        return
    path = results_path(given)
    if is_stream(path):
        with path.open("w", encoding="utf-8") as stream:
            yield stream
        return
    opener = OPENERS.get(pathlib.PurePath(given).suffix.lower(), open)
    with atomic_path(path) as temporary, opener(temporary, "wt", encoding="utf-8") as stream:
        yield stream
