"""The lines of a file or of standard input, numbered and decoded; memory stays at one line."""

import bz2
import contextlib
import gzip
import lzma
import os
import pathlib
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from vaetx_jax.errors import UserError

MAX_CHARACTERS = 100_000  # of a sentence; nothing longer is one
MAX_BYTES = 4_000_000  # of a line, with whatever it holds besides the sentence
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# The first bytes of files that are given in the place of text; no text in UTF-8 begins so.
_NO_TEXT = {
    b"\x1f\x8b": "gzip data; unpack it, or let its name end in .gz",
    b"\xfd7zXZ\x00": "xz data; unpack it, or let its name end in .xz",
    b"PAR1\x15": "Parquet; let its name end in .parquet",
    b"\x93NUMPY": "an array of numpy; give the sentences",
    b"PK\x03\x04": "a zip archive, as .docx and .xlsx are; give its text as .txt or .csv",
}

Source = str | os.PathLike[str]

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


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


def bare_name(source: Source) -> str:
    """A file's name in lower case, without the ending of its compression."""
    name = os.fspath(source).lower()
    for ending in OPENERS:
        name = name.removesuffix(ending)
    return name


def open_bytes(path: pathlib.Path) -> BinaryIO:
    """Opens a file, unpacked if its name ends in one of `OPENERS`."""
    opener = OPENERS.get(path.suffix.lower())
    return cast(BinaryIO, path.open("rb") if opener is None else opener(path))


def decoded_lines(source: Source) -> Generator[DecodedLine, None, None]:
    """The lines of a file, unpacked if its name says so, or of standard input (`-`).

    Raises:
      UserError: the file cannot be read or unpacked.
    """
    name, number, start = name_of(source), 0, 0
    try:
        with _open(source) as stream:
            while raw := stream.readline(MAX_BYTES + 1):
                number += 1
                if number == 1:
                    _refuse_no_text(name, raw)
                if len(raw) <= MAX_BYTES:
                    yield _decode(name, number, start, raw)
                    start += len(raw)
                    continue
                error_of = cr_line_ends if b"\r" in raw[:-2] else too_long
                broken = error_of(name, number)
                yield DecodedLine(number, "", broken)
                while not raw.endswith(b"\n"):  # the rest of the line is no line of its own
                    start += len(raw)
                    if not (raw := stream.readline(MAX_BYTES)):
                        return
                start += len(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise broken_data(name, f"after line {number}", error) from error
    except OSError as error:
        if error.errno is None:  # bz2's own, of data that is not its
            raise broken_data(name, f"after line {number}", error) from error
        raise UserError(
            f"cannot read {name}: {error.strerror or error}. Check the path and its permissions."
        ) from error


def too_long(name: str, number: int) -> LineError:
    """The error of a line that is longer than a sentence can be."""
    return LineError(
        f"{name}, line {number}: longer than {MAX_CHARACTERS:,} characters. Is it one sentence a "
        "line, and every quotation mark of a CSV closed? Split the text into sentences."
    )


def cr_line_ends(name: str, number: int) -> LineError:
    """The error of a carriage return inside a line."""
    return LineError(
        f"{name}, line {number}: its line ends are CR, or a CR is inside the line. Convert it, "
        "for instance with: tr '\\r' '\\n'"
    )


def broken_data(name: str, where: str, error: Exception) -> UserError:
    """The error of compressed data that cannot be unpacked."""
    ending = pathlib.PurePath(name).suffix.lower()
    kind = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz"}.get(ending, "compressed")
    return UserError(
        f"{name}, {where}: broken {kind} data ({error}). Compress it again, or give the file "
        f"uncompressed and without {ending or 'its ending'}."
    )


@contextlib.contextmanager
def _open(source: Source) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    with open_bytes(pathlib.Path(source).expanduser()) as stream:
        yield stream


def _refuse_no_text(name: str, first: bytes) -> None:
    for begins, what in _NO_TEXT.items():
        if first.startswith(begins):
            raise UserError(f"{name}: this is not text but {what}.")


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
