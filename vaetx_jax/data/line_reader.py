"""Sentences line by line from a file or standard input, each with its number; memory stays at one.

A line is text, or a JSON value in a `.jsonl` file; where a command needs several sentences a line,
they are divided by tabs, or stand in a JSON list.
"""

import contextlib
import gzip
import json
import pathlib
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, cast

from vaetx_jax.errors import UserError

MAX_BYTES = 4_000_000  # of a line; nothing longer is a sentence


class Sentences(NamedTuple):
    """What one line holds: its number from 1, and its sentences."""

    number: int
    texts: tuple[str, ...]


class LineError(UserError):
    """One line cannot be read; those after it can."""


def read(
    source: str, columns: int, on_error: Callable[[LineError], None], *, json_lines: bool = False
) -> Iterator[Sentences]:
    """The lines of a file, or of standard input where `source` is `-`.

    An empty line is the empty sentence, so that lines and results go together. Line ends and a
    byte order mark are no part of a text; all else is, spaces at its ends included.

    Args:
      columns: sentences a line; with one, tabs are part of it.
      on_error: told of a line that cannot be read; it is left out unless this raises.
      json_lines: each line is JSON whatever the file's name: a text, a list of texts, or an object
        with `text` (of several: `a`, `b`, `c`).

    Raises:
      UserError: the file cannot be read.
    """
    name = "standard input" if source == "-" else source
    json_lines = json_lines or source.removesuffix(".gz").endswith((".jsonl", ".ndjson"))
    parse = _from_json if json_lines else _from_text
    number = 0
    try:
        with _open(source) as stream:
            while raw := stream.readline(MAX_BYTES + 1):
                number += 1
                try:
                    yield Sentences(number, parse(_decoded(raw, stream, number), columns))
                except LineError as error:
                    on_error(LineError(f"{name}, line {number}: {error}"))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{name}, after line {number}: broken gzip data ({error})") from error
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror or error}; check the path") from error


@contextlib.contextmanager
def _open(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    path = pathlib.Path(source).expanduser()
    with gzip.open(path) if source.endswith(".gz") else path.open("rb") as stream:
        yield cast(BinaryIO, stream)


def _decoded(raw: bytes, stream: BinaryIO, number: int) -> str:
    if len(raw) > MAX_BYTES:
        while raw and not raw.endswith(b"\n"):  # its rest belongs to no line after it
            raw = stream.readline(MAX_BYTES)
        raise LineError(f"longer than {MAX_BYTES:,} bytes; give one sentence a line")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LineError(
            f"byte {error.start} of it is not UTF-8; convert the file with iconv -t UTF-8"
        ) from None
    text = text.removeprefix("\ufeff") if number == 1 else text
    return text.removesuffix("\n").removesuffix("\r")


def _from_text(line: str, columns: int) -> tuple[str, ...]:
    texts = tuple(line.split("\t")) if columns > 1 else (line,)
    if len(texts) != columns:
        raise LineError(f"{len(texts)} sentences where {columns} are needed, divided by tabs")
    return texts


def _from_json(line: str, columns: int) -> tuple[str, ...]:
    keys = ("text",) if columns == 1 else ("a", "b", "c")[:columns]
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LineError(f"not JSON ({error})") from None
    if isinstance(value, dict):
        missing = [key for key in keys if key not in value]
        if missing:
            raise LineError(f"the JSON object has no {missing[0]!r}")
        value = [value[key] for key in keys]
    texts = tuple(value) if isinstance(value, list) else (value,)
    if len(texts) != columns or not all(isinstance(text, str) for text in texts):
        wanted = "a text" if columns == 1 else f"a list of {columns} texts"
        raise LineError(f"{wanted} is needed, or an object with {', '.join(keys)}")
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise LineError("half of a surrogate pair, which no text has") from None
    return texts
