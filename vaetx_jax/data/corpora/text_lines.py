"""A user's own text files, read line by line: `.txt`, `.tsv` and `.csv`, each also gzipped.

Every error names the file and the line. Memory stays at one line, whatever the file.
"""

import collections
import contextlib
import csv
import gzip
import pathlib
import re
import zlib
from collections.abc import Generator, Iterator
from typing import BinaryIO, NamedTuple, cast

from vaetx_jax.errors import UserError

KINDS = (".txt", ".tsv", ".csv")
MAX_CHARACTERS = 100_000  # of a sentence; nothing longer is one
_MAX_BYTES = 4 * MAX_CHARACTERS + 2  # what that many characters and a line end can take
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Line(NamedTuple):
    """One sentence of a file: line number from 1, text, and its label where the file has any."""

    number: int
    text: str
    label: str | None


def kind_of(path: pathlib.Path) -> str:
    """`.txt`, `.tsv` or `.csv`.

    Raises:
        UserError: the name ends otherwise.
    """
    name = path.name.lower().removesuffix(".gz")
    for kind in KINDS:
        if name.endswith(kind):
            return kind
    raise UserError(
        f"{path}: unknown kind of file. The name must end in {', '.join(KINDS)}, "
        "with .gz after it if compressed: .txt holds one sentence a line, .tsv text<TAB>label, "
        ".csv a column 'text' and, if there are labels, 'label'."
    )


def read_lines(path: pathlib.Path, skipped: collections.Counter[str]) -> Iterator[Line]:
    """The sentences of a file; blank lines and a heading line are counted in `skipped`.

    Spaces at either end of a text are dropped, inside nothing changes; only a line break inside a
    CSV field becomes a single space. A byte order mark and Windows line ends are no part of it.

    Raises:
        UserError: the file is missing, not UTF-8, has a line without label, and so on.
    """
    reader = {".txt": _plain, ".tsv": _tabbed, ".csv": _csv}[kind_of(path)]
    for line in reader(path, skipped):
        if len(line.text) > MAX_CHARACTERS:
            raise _too_long(path, line.number)
        yield line


def has_labels(path: pathlib.Path) -> bool:
    """Whether the rows of a file carry labels: by its kind, and by the heading line of a CSV."""
    kind = kind_of(path)
    if kind != ".csv":
        return kind == ".tsv"
    with contextlib.closing(_csv_text(path)) as lines:
        reader = csv.reader(lines, strict=True)
        try:
            return _csv_columns(path, next(reader, []))[1] is not None
        except csv.Error as error:
            raise _bad_csv(path, reader.line_num, error) from error


def _plain(path: pathlib.Path, skipped: collections.Counter[str]) -> Iterator[Line]:
    for number, line in _decoded(path):
        text = line.strip()
        if text:
            yield Line(number, text, None)
        else:
            skipped["blank lines"] += 1


def _tabbed(path: pathlib.Path, skipped: collections.Counter[str]) -> Iterator[Line]:
    for number, line in _decoded(path):
        if not line.strip():
            skipped["blank lines"] += 1
            continue
        columns = line.rstrip("\r\n").split("\t")
        if len(columns) != 2 or not columns[1].strip():
            problem = "the label is missing" if len(columns) < 3 else f"{len(columns)} columns"
            raise UserError(
                f"{path}, line {number}: {problem}. Each line must be text, one tab, label; "
                "without labels, name the file .txt."
            )
        text, label = columns[0].strip(), columns[1].strip()
        if number == 1 and label == "label":
            skipped["heading lines"] += 1
        elif text:
            yield Line(number, text, label)
        else:
            skipped["blank lines"] += 1


def _csv(path: pathlib.Path, skipped: collections.Counter[str]) -> Iterator[Line]:
    reader = csv.reader(_csv_text(path), strict=True)
    try:
        text_column, label_column = _csv_columns(path, next(reader, []))
        needed = max(text_column, label_column or 0) + 1
        for row in reader:
            if not any(row):
                skipped["blank lines"] += 1
                continue
            if len(row) < needed:
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(row)} columns where the heading has "
                    f"at least {needed}. Complete the line, or quote a text with line breaks."
                )
            text = re.sub(r"\s*[\r\n]+\s*", " ", row[text_column]).strip()
            label = None if label_column is None else row[label_column].strip()
            if not text:
                skipped["blank lines"] += 1
            elif label == "":
                raise UserError(
                    f"{path}, line {reader.line_num}: the label is missing. Add it, or remove "
                    "the column 'label' from the file."
                )
            else:
                yield Line(reader.line_num, text, label)
    except csv.Error as error:
        raise _bad_csv(path, reader.line_num, error) from error


def _bad_csv(path: pathlib.Path, number: int, error: csv.Error) -> UserError:
    if "field larger than" in str(error):
        return _too_long(path, number)
    return UserError(
        f"{path}, line {number}: not valid CSV ({error}). Is a quotation mark open? "
        'Quote a text with commas as "a, b" and a quotation mark inside as "".'
    )


def _csv_columns(path: pathlib.Path, heading: list[str]) -> tuple[int, int | None]:
    names = [name.strip() for name in heading]
    if "text" not in names:
        shown = ", ".join(map(repr, names))[:200] or "none at all"
        raise UserError(
            f"{path}, line 1: no column 'text' in the heading ({shown}). The first line must name "
            "the columns, separated by commas, one of them 'text'."
        )
    return names.index("text"), names.index("label") if "label" in names else None


def _csv_text(path: pathlib.Path) -> Generator[str, None, None]:
    return (line for _, line in _decoded(path))


def _decoded(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Numbered lines with their line ends, decoded, without byte order mark."""
    number, start = 0, 0
    try:
        with _open(path) as stream:
            while raw := stream.readline(_MAX_BYTES + 1):
                number += 1
                if len(raw) > _MAX_BYTES:
                    raise _too_long(path, number)
                yield number, _decode(path, number, start, raw)
                start += len(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}, after line {number}: broken gzip data ({error}). Compress it again, or give "
            "the file uncompressed and without .gz."
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror or error}. Check the path and its rights."
        ) from error


def _open(path: pathlib.Path) -> BinaryIO:
    if path.name.lower().endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _decode(path: pathlib.Path, number: int, start: int, raw: bytes) -> str:
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if number == 1 and raw.startswith(_UTF16_MARKS):
            encoding = "UTF-16"
        else:
            encoding = "another encoding"
        raise UserError(
            f"{path}, line {number}, byte {start + error.start}: not UTF-8 (it looks like "
            f"{encoding}). Convert it, for instance with: iconv -f ENCODING -t UTF-8"
        ) from error
    if "\0" in line:
        raise UserError(
            f"{path}, line {number}: it holds a NUL byte, so it is not text in UTF-8 (perhaps "
            "UTF-16). Convert it, for instance with: iconv -f UTF-16 -t UTF-8"
        )
    return line.removeprefix("\ufeff") if number == 1 else line


def _too_long(path: pathlib.Path, number: int) -> UserError:
    return UserError(
        f"{path}, line {number}: longer than {MAX_CHARACTERS:,} characters. Is it one sentence a "
        "line, and every quotation mark of a CSV closed? Split the text into sentences."
    )
