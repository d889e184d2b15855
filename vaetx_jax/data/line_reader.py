"""Sentences read from a file or standard input, line by line.

    .txt            a sentence per line; also standard input and names that end otherwise
    .tsv            sentence, tab, label
    .csv            columns `text` and, if there are labels, `label`
    .jsonl .ndjson  a text per line, or an object with `text`

Each may have `.gz` after it. Where a command needs several sentences per line, tabs stand between
them; CSV columns and JSON keys are `a`, `b`, `c`; a JSON list will do. Memory stays at one line.
"""

import collections
import contextlib
import csv
import json
import os
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vaetx_jax.data.decoded_lines import (
    MAX_CHARACTERS,
    DecodedLine,
    LineError,
    Source,
    decoded_lines,
    name_of,
    too_long,
)
from vaetx_jax.errors import UserError

KINDS = (".txt", ".tsv", ".csv", ".jsonl", ".ndjson")
LABEL = "label"  # the one label field
_NO_LABELS: Mapping[str, str] = types.MappingProxyType({})


class Line(NamedTuple):
    """The sentences of one line and their labels.

    Attributes:
      number: of the line, from 1; of a CSV row over several lines, that of the last.
      texts: its sentences, as many as were asked for.
      labels: label field -> label; blank ones are left out.
    """

    number: int
    texts: tuple[str, ...]
    labels: Mapping[str, str] = _NO_LABELS

    @property
    def text(self) -> str:
        """The sentence, or the first of several."""
        return self.texts[0]


def refuse(error: LineError) -> None:
    """Raises the error: no line may be left out."""
    raise error


def kind_of(source: Source) -> str:
    """Finds the one of `KINDS` that a file's name ends in, before any `.gz`; "" for none."""
    name = os.fspath(source).lower().removesuffix(".gz")
    return next((kind for kind in KINDS if name.endswith(kind)), "")


def read_lines(
    source: Source,
    *,
    columns: int = 1,
    kind: str | None = None,
    on_error: Callable[[LineError], None] = refuse,
    skipped: collections.Counter[str] | None = None,
) -> Iterator[Line]:
    """Yields the lines of a file, or of standard input if `source` is `-`.

    An empty line is the empty sentence, so that lines and results go together. A heading is no
    line. Line ends and a byte order mark are no part of a text, spaces at its ends are; a line
    break inside a CSV field becomes a single space.

    Args:
      source: the path, or `-`.
      columns: sentences per line; several have no labels.
      kind: one of `KINDS`, whatever the file's name.
      on_error: called with the error of a line that cannot be read; the line is left out unless
        this raises.
      skipped: counts the heading lines of a `.tsv`.

    Raises:
      UserError: the file cannot be read, or a CSV's heading or quotation marks are wrong.
    """
    name = name_of(source)
    lines = decoded_lines(source)
    kind = kind_of(source) if kind is None else kind
    if kind == ".csv":
        found = _csv_lines(name, lines, columns, on_error)
    else:
        by_kind = {".jsonl": _json, ".ndjson": _json, ".tsv": _labelled if columns == 1 else _plain}
        found = _parsed(name, lines, by_kind.get(kind, _plain), columns, on_error)
    for line in found:
        if max(map(len, line.texts)) > MAX_CHARACTERS:
            on_error(too_long(name, line.number))
        elif kind == ".tsv" and line.number == 1 and line.labels.get(LABEL) == LABEL:
            if skipped is not None:
                skipped["heading lines"] += 1
        else:
            yield line


def label_fields(source: Source) -> tuple[str, ...]:
    """The label fields of a file: by its kind, and by the heading of a CSV.

    Raises:
      UserError: the file cannot be read, or its heading is wrong.
    """
    kind, name = kind_of(source), name_of(source)
    if kind != ".csv":
        return (LABEL,) if kind == ".tsv" else ()
    with contextlib.closing(decoded_lines(source)) as lines:
        feed = _Feed(lines)
        try:
            heading = next(csv.reader(feed, strict=True), [])
        except csv.Error as error:
            feed.check()
            raise _bad_csv(name, feed.number, error) from error
        feed.check()
    return (LABEL,) if _csv_columns(name, heading, ("text",))[1] is not None else ()


class _ProblemError(Exception):
    """A problem of a line, without the line's number."""


# Kinds in which a line stands for itself ----------------------------------------------------------


def _parsed(
    name: str,
    lines: Iterator[DecodedLine],
    parse: Callable[[int, str, int], Line],
    columns: int,
    on_error: Callable[[LineError], None],
) -> Iterator[Line]:
    for number, text, broken in lines:
        try:
            if broken is not None:
                raise broken
            yield parse(number, text, columns)
        except LineError as error:
            on_error(error)
        except _ProblemError as problem:
            on_error(LineError(f"{name}, line {number}: {problem}"))


def _plain(number: int, text: str, columns: int) -> Line:
    texts = tuple(text.split("\t")) if columns > 1 else (text,)
    if len(texts) != columns:
        raise _ProblemError(f"{len(texts)} sentences where {columns} are needed, divided by tabs")
    return Line(number, texts)


def _labelled(number: int, text: str, columns: int) -> Line:
    if not text.strip():
        return Line(number, ("",))
    fields = text.split("\t")
    if len(fields) > 2:
        raise _ProblemError(
            f"{len(fields)} columns. Each line must be text, one tab, label; without labels, name "
            "the file .txt."
        )
    label = fields[1].strip() if len(fields) == 2 else ""
    return Line(number, (fields[0],), {LABEL: label} if label else _NO_LABELS)


def _json(number: int, text: str, columns: int) -> Line:
    keys = _keys(columns)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _ProblemError(f"not JSON ({error})") from None
    if isinstance(value, dict):
        missing = [key for key in keys if key not in value]
        if missing:
            raise _ProblemError(f"the JSON object has no {missing[0]!r}")
        value = [value[key] for key in keys]
    texts = tuple(value) if isinstance(value, list) else (value,)
    if len(texts) != columns or not all(isinstance(text, str) for text in texts):
        wanted = "a text" if columns == 1 else f"a list of {columns} texts"
        raise _ProblemError(f"{wanted} is needed, or an object with {', '.join(keys)}")
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise _ProblemError("half of a surrogate pair, which no text has") from None
    return Line(number, texts)


def _keys(columns: int) -> tuple[str, ...]:
    """The names of the sentences of a line in CSV and JSON."""
    return ("text",) if columns == 1 else ("a", "b", "c")[:columns]


# CSV, whose rows may be several lines -------------------------------------------------------------


class _Feed:
    """The lines on their way into `csv.reader`; keeps the error of the row that is being read."""

    def __init__(self, lines: Iterator[DecodedLine]) -> None:
        self._lines = lines
        self._broken: LineError | None = None
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, text, broken = next(self._lines)
        if broken is not None and not text:
            raise UserError(str(broken))  # cut short: where the row ends is not known any more
        self._broken = self._broken or broken
        return f"{text}\n"

    def check(self) -> None:
        """Raises the error of the row that has been read, if it has one."""
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken


def _csv_lines(
    name: str, lines: Iterator[DecodedLine], columns: int, on_error: Callable[[LineError], None]
) -> Iterator[Line]:
    feed = _Feed(lines)
    rows = csv.reader(feed, strict=True)
    try:
        heading = next(rows, [])
        feed.check()
        text_columns, label_column = _csv_columns(name, heading, _keys(columns))
        for row in rows:
            try:
                feed.check()
                yield _csv_line(name, feed.number, row, text_columns, label_column)
            except LineError as error:
                on_error(error)
    except csv.Error as error:
        feed.check()  # what is not text is not CSV either
        raise _bad_csv(name, feed.number, error) from error


def _csv_line(
    name: str, number: int, row: list[str], text_columns: Sequence[int], label_column: int | None
) -> Line:
    if not any(row):
        return Line(number, ("",) * len(text_columns))
    needed = max(*text_columns, label_column or 0) + 1
    if len(row) < needed:
        raise LineError(
            f"{name}, line {number}: {len(row)} columns where the heading has at least {needed}. "
            "Complete the line, or quote a text with line breaks."
        )
    texts = tuple(re.sub(r"\s*[\r\n]+\s*", " ", row[column]) for column in text_columns)
    label = "" if label_column is None else row[label_column].strip()
    return Line(number, texts, {LABEL: label} if label else _NO_LABELS)


def _csv_columns(
    name: str, heading: list[str], keys: tuple[str, ...]
) -> tuple[list[int], int | None]:
    """The column numbers of the sentences and of the label."""
    names = [column.strip() for column in heading]
    for key in keys:
        if key not in names:
            shown = ", ".join(map(repr, names))[:200] or "none at all"
            raise UserError(
                f"{name}, line 1: no column {key!r} in the heading ({shown}). The first line must "
                f"name the columns, separated by commas, one of them {key!r}."
            )
    has_label = len(keys) == 1 and LABEL in names
    return [names.index(key) for key in keys], names.index(LABEL) if has_label else None


def _bad_csv(name: str, number: int, error: csv.Error) -> UserError:
    if "field larger than" in str(error):
        return UserError(str(too_long(name, number)))
    return UserError(
        f"{name}, line {number}: not valid CSV ({error}). Is a quotation mark open? "
        'Quote a text with commas as "a, b" and a quotation mark inside as "".'
    )
