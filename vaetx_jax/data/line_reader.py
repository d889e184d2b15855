"""Sentences read from a file or standard input, line by line: the one reader of all commands.

    .txt            a sentence per line; also standard input and names that end otherwise
    .tsv            sentence, tab, label; or a heading that names the columns
    .csv            a heading that names the columns
    .jsonl .ndjson  a text per line, or an object whose keys are the columns
    .parquet        a table with named columns (needs pyarrow)
    hf://NAME       a data set of the hub, or a folder that it was saved to (`dataset_rows`)

`Fields` says which columns hold the sentence and its labels: `text` and `label` by default. Each
file may be compressed (`.gz`, `.bz2`, `.xz`). Where a command needs several sentences per line,
tabs stand between them; CSV columns and JSON keys are `a`, `b`, `c`; a JSON list will do. Memory
stays at one line.
"""

import collections
import itertools
import json
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vaetx_jax.data.csv_rows import CsvRow, CsvRows
from vaetx_jax.data.dataset_rows import dataset_rows, is_dataset
from vaetx_jax.data.decoded_lines import (
    MAX_CHARACTERS,
    DecodedLine,
    LineError,
    Source,
    bare_name,
    cr_line_ends,
    decoded_lines,
    name_of,
    too_long,
)
from vaetx_jax.data.fields import (
    ANY_FIELDS,
    LABEL,
    TEXT,
    Fields,
    Places,
    field_name,
    looks_like_heading,
    numbers_for_names,
    places_by_number,
    places_in_heading,
    unnamed_heading,
)

DATASET = "dataset"  # a kind that no name ends in
JSON_KINDS = (".jsonl", ".ndjson")
KINDS = (".txt", ".tsv", ".csv", *JSON_KINDS, ".parquet")
HEADING_LINES = "heading lines"  # what `read_lines` counts under
_NO_LABELS: Mapping[str, str] = types.MappingProxyType({})


class Line(NamedTuple):
    """The sentences of one line and their labels.

    Attributes:
      number: of the line, from 1; of a CSV row over several lines, that of the last; of a Parquet
        file, that of the row.
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
    """Finds the one of `KINDS` that a file's name ends in, before `.gz` and so on; "" for none.

    A data set of the library `datasets` is of the kind `DATASET`, whatever its name.
    """
    if is_dataset(source):
        return DATASET
    name = bare_name(source)
    return next((kind for kind in KINDS if name.endswith(kind)), "")


def read_lines(
    source: Source,
    *,
    columns: int = 1,
    kind: str | None = None,
    fields: Fields = ANY_FIELDS,
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
      fields: the columns that hold the sentence and its labels; a file without columns ignores it.
      on_error: called with the error of a line that cannot be read; the line is left out unless
        this raises.
      skipped: counts the heading lines of a file that need not have one.

    Raises:
      UserError: the file cannot be read, or its heading or a CSV's quotation marks are wrong.
    """
    name = name_of(source)
    kind = kind_of(source) if kind is None else kind
    counts: collections.Counter[str] = collections.Counter() if skipped is None else skipped
    keys = (TEXT,) if columns == 1 else ("a", "b", "c")[:columns]  # in CSV, JSON and tables
    if kind == DATASET:
        found = _table_lines(name, dataset_rows(source, fields, keys), fields, keys, on_error)
    elif kind == ".parquet":
        from vaetx_jax.data.parquet_rows import parquet_rows  # needs pyarrow, an extra

        found = _table_lines(name, parquet_rows(source, fields, keys), fields, keys, on_error)
    elif kind == ".csv":
        found = _csv_lines(name, decoded_lines(source), fields, keys, on_error, counts)
    elif kind == ".tsv" and columns == 1:
        lines = _sound(name, decoded_lines(source), on_error)
        found = _tsv_lines(name, lines, fields, on_error, counts)
    elif kind in JSON_KINDS:
        lines = _sound(name, decoded_lines(source), on_error)
        found = _json_lines(name, lines, fields, keys, on_error)
    else:
        found = _plain_lines(name, _sound(name, decoded_lines(source), on_error), columns, on_error)
    for line in found:
        if max(map(len, line.texts)) > MAX_CHARACTERS:
            on_error(too_long(name, line.number))
        elif any("\0" in text for text in line.texts):  # of JSON or a table; elsewhere seen before
            on_error(LineError(f"{name}, line {line.number}: a NUL character, which no text has"))
        else:
            yield line


def _sound(
    name: str, lines: Iterator[DecodedLine], on_error: Callable[[LineError], None]
) -> Iterator[tuple[int, str]]:
    """The lines that are text; `on_error` is called with the others."""
    for number, text, broken in lines:
        if broken is None and "\r" in text:
            broken = cr_line_ends(name, number)
        if broken is None:
            yield number, text
        else:
            on_error(broken)


# Text ---------------------------------------------------------------------------------------------


def _plain_lines(
    name: str,
    lines: Iterator[tuple[int, str]],
    columns: int,
    on_error: Callable[[LineError], None],
) -> Iterator[Line]:
    for number, text in lines:
        texts = tuple(text.split("\t")) if columns > 1 else (text,)
        if len(texts) == columns:
            yield Line(number, texts)
        else:
            problem = f"{len(texts)} sentences where {columns} are needed, divided by tabs"
            on_error(LineError(f"{name}, line {number}: {problem}"))


# Tables -------------------------------------------------------------------------------------------


def _csv_lines(
    name: str,
    lines: Iterator[DecodedLine],
    fields: Fields,
    keys: tuple[str, ...],
    on_error: Callable[[LineError], None],
    counts: collections.Counter[str],
) -> Iterator[Line]:
    # What is wrong with the heading is wrong with the file: `refuse`.
    before_heading: list[Callable[[LineError], None]] = [refuse]
    rows: Iterator[CsvRow] = iter(CsvRows(name, lines, lambda error: before_heading[-1](error)))
    heading = next(rows, CsvRow(1, 1, []))
    before_heading.append(on_error)
    fields = fields.among(heading.cells)
    if fields.by_number and len(keys) == 1:
        places = places_by_number(name, heading.cells, fields)
        if looks_like_heading(heading.cells):
            counts[HEADING_LINES] += 1
        else:
            rows = itertools.chain([heading], rows)
    else:
        places = places_in_heading(name, heading.cells, fields, keys)
    advice = 'Quote a text with commas or line breaks: "a, b".'
    yield from _rows_of(name, rows, places, advice, on_error)


def _tsv_lines(
    name: str,
    lines: Iterator[tuple[int, str]],
    fields: Fields,
    on_error: Callable[[LineError], None],
    counts: collections.Counter[str],
) -> Iterator[Line]:
    rows: Iterator[CsvRow] = (CsvRow(number, number, text.split("\t")) for number, text in lines)
    first = next(rows, None)
    if first is None:
        return
    fields = fields.among(first.cells)
    names = [cell.strip().casefold() for cell in first.cells]
    advice = "Each line must be text, one tab, label; without labels, name the file .txt."
    heading = first.first == 1 and (looks_like_heading(first.cells) or names[1:] == [LABEL])
    if fields and not fields.by_number:
        places = places_in_heading(name, first.cells, fields)
        advice = "Columns are separated by tabs; no text may contain one."
    elif fields:
        places = places_by_number(name, first.cells, fields)
        advice = "Columns are separated by tabs; no text may contain one."
        counts[HEADING_LINES] += heading
        rows = rows if heading else itertools.chain([first], rows)
    elif heading and TEXT in names and LABEL in names:
        places = places_in_heading(name, first.cells, fields)
        counts[HEADING_LINES] += 1
    elif heading and names[1:] == [LABEL]:
        places = Places((0,), ((LABEL, 1),), 2)
        counts[HEADING_LINES] += 1
    elif heading:
        raise unnamed_heading(name, first.cells)
    else:
        places = Places((0,), ((LABEL, 1),), 2)
        rows = itertools.chain([first], rows)
    yield from _rows_of(name, rows, places, advice, on_error, may_lack_labels=not fields)


def _rows_of(
    name: str,
    rows: Iterator[CsvRow],
    places: Places,
    advice: str,
    on_error: Callable[[LineError], None],
    *,
    may_lack_labels: bool = False,
) -> Iterator[Line]:
    """The rows of a table as lines; `on_error` is called with one of another width."""
    needed = 1 + max([*places.texts, *(0 if may_lack_labels else n for _, n in places.labels)])
    for row in rows:
        cells, fits = row.cells, needed <= len(row.cells) <= places.width
        if not fits and not any(cell.strip() for cell in cells):
            # The cell itself, as spaces are a text of their own.
            yield Line(row.last, (cells[0] if cells else "",) * len(places.texts))
        elif not fits:
            expected = "1 is" if places.width == 1 else f"{places.width} are"
            problem = f"{len(cells)} columns where {expected} expected. {advice}"
            on_error(LineError(f"{name}, line {row.first}: {problem}"))
        else:
            labels = {
                field: cells[column].strip()
                for field, column in places.labels
                if column < len(cells) and cells[column].strip()
            }
            texts = tuple(cells[column] for column in places.texts)
            yield Line(row.last, texts, labels or _NO_LABELS)


# Objects ------------------------------------------------------------------------------------------


def _json_lines(
    name: str,
    lines: Iterator[tuple[int, str]],
    fields: Fields,
    keys: tuple[str, ...],
    on_error: Callable[[LineError], None],
) -> Iterator[Line]:
    def values() -> Iterator[tuple[int, Any]]:
        for number, text in lines:
            if not text.strip():
                yield number, [""] * len(keys)
                continue
            try:
                yield number, json.loads(text)
            except (ValueError, RecursionError) as error:
                on_error(LineError(f"{name}, line {number}: not JSON ({error})"))

    yield from _table_lines(name, values(), fields, keys, on_error)


def _table_lines(
    name: str,
    values: Iterator[tuple[int, Any]],
    fields: Fields,
    keys: tuple[str, ...],
    on_error: Callable[[LineError], None],
) -> Iterator[Line]:
    """Values as lines: each a text, a list of texts, or a mapping that holds them by name."""
    if fields.by_number:
        raise numbers_for_names(name)
    for number, value in values:
        if fields.usual and isinstance(value, dict):  # the first object says it of all
            fields = fields.among(list(value), named=True)
        texts = (fields.text,) if fields.text and len(keys) == 1 else keys
        labels: Sequence[str] = (fields.labels or (LABEL,)) if len(keys) == 1 else ()
        try:
            yield _of_value(number, value, texts, labels, chosen=bool(fields.labels))
        except LineError as problem:
            on_error(LineError(f"{name}, line {number}: {problem}"))


def _of_value(
    number: int, value: Any, keys: tuple[str, ...], labels: Sequence[str], *, chosen: bool
) -> Line:
    found: dict[str, str] = {}
    if isinstance(value, dict):
        missing = [key for key in (*keys, *(labels if chosen else ())) if key not in value]
        if missing:
            have = ", ".join(map(repr, value))[:200] or "nothing"
            raise LineError(f"the object has no {missing[0]!r}; it has {have}")
        found = {field_name(key): _label(key, value.get(key)) for key in labels}
        value = [value[key] for key in keys]
    texts = tuple(value) if isinstance(value, list) else (value,)
    if len(texts) != len(keys) or not all(isinstance(text, str) for text in texts):
        wanted = "a text" if len(keys) == 1 else f"a list of {len(keys)} texts"
        raise LineError(f"{wanted} is needed, or an object with {', '.join(keys)}")
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise LineError("half of a surrogate pair, which no text has") from None
    return Line(number, texts, {k: label for k, label in found.items() if label} or _NO_LABELS)


def _label(key: str, value: Any) -> str:
    """A label of JSON or of a table as text; empty for null and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise LineError(f"the label {key!r} is a {type(value).__name__}; give a text or a number")
