"""The lines of a file or of standard input, numbered and decoded; memory stays at one line."""

import contextlib
import gzip
import os
import pathlib
import sys
import zlib
from collections.abc import Generator, Iterator
from typing import BinaryIO, NamedTuple, cast

from vaetx_jax.errors import UserError

MAX_CHARACTERS = 100_000  # of a sentence; nothing longer is one
_MAX_BYTES = 4_000_000  # of a line, with whatever it holds besides the sentence
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

Source = str | os.PathLike[str]


class LineError(UserError):
    """One line cannot be read; those after it can."""


class DecodedLine(NamedTuple):
    """A line without its line end.

    Attributes:
      number: from 1.
      text: with replacement characters where bytes are not UTF-8; empty for a line that is too long
        to be looked at.
      broken: why it cannot be used, if so.
    """

    number: int
    text: str
    broken: LineError | None


def name_of(source: Source) -> str:
    """The source as messages call it."""
    return "standard input" if source == "-" else os.fspath(source)


def decoded_lines(source: Source) -> Generator[DecodedLine, None, None]:
    """The lines of a file, unpacked if its name ends in `.gz`, or of standard input (`-`).

    Raises:
      UserError: the file cannot be read or unpacked.
    """
    name, number, start = name_of(source), 0, 0
    try:
        with _open(source) as stream:
            while raw := stream.readline(_MAX_BYTES + 1):
                number += 1
                if len(raw) <= _MAX_BYTES:
                    yield _decode(name, number, start, raw)
                    start += len(raw)
                    continue
                yield DecodedLine(number, "", too_long(name, number))
                while not raw.endswith(b"\n"):  # the rest of the line is no line of its own
                    start += len(raw)
                    if not (raw := stream.readline(_MAX_BYTES)):
                        return
                start += len(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{name}, after line {number}: broken gzip data ({error}). Compress it again, or give "
            "the file uncompressed and without .gz."
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot read {name}: {error.strerror or error}. Check the path and its rights."
        ) from error


def too_long(name: str, number: int) -> LineError:
    """The error of a line that is longer than a sentence can be."""
    return LineError(
        f"{name}, line {number}: longer than {MAX_CHARACTERS:,} characters. Is it one sentence a "
        "line, and every quotation mark of a CSV closed? Split the text into sentences."
    )


@contextlib.contextmanager
def _open(source: Source) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    path = pathlib.Path(source).expanduser()
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as stream:
        yield cast(BinaryIO, stream)


def _decode(name: str, number: int, start: int, raw: bytes) -> DecodedLine:
    """Decodes a line that starts at byte `start` of the file."""
    broken = None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        utf16 = number == 1 and raw.startswith(_UTF16_MARKS)
        broken = LineError(
            f"{name}, line {number}, byte {start + error.start}: not UTF-8 (it looks like "
            f"{'UTF-16' if utf16 else 'another encoding'}). Convert it, for instance with: "
            "iconv -f ENCODING -t UTF-8"
        )
        text = raw.decode("utf-8", "replace")
    if broken is None and "\0" in text:
        broken = LineError(
            f"{name}, line {number}: it holds a NUL byte, so it is not text in UTF-8 (perhaps "
            "UTF-16). Convert it, for instance with: iconv -f UTF-16 -t UTF-8"
        )
    text = text.removeprefix("\ufeff") if number == 1 else text
    return DecodedLine(number, text.removesuffix("\n").removesuffix("\r"), broken)
