"""What is written to a file of each kind comes back as it was, or is refused with its line.

`VAETX_EXAMPLES=20000 python -m pytest tests/data/round_trip_test.py` looks at 100,000 files.
"""

import csv
import io
import json
import os
import pathlib
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaetx_jax.data.decoded_lines import MAX_CHARACTERS, LineError
from vaetx_jax.data.line_reader import read_lines

thorough = settings(
    max_examples=int(os.environ.get("VAETX_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
HOSTILE = ['"', '""', "'", ",", ";", "\t", "\r", "\n", "\r\n", "\0", "\ufeff", "\ud800", "\udfff"]
HOSTILE += [
    "[SEP]",
    "[PAD]",
    "<unk>",
    "▁",
    "👩‍👩‍👧",
    "😀",
    "é",
    "e\u0301",
    "\u2028",
    "\x85",
    "\x0b",
]
HOSTILE += [
    "\\",
    "\\n",
    "\\u0000",
    "null",
    "NaN",
    "text",
    "label",
    " ",
    "  ",
    "\xa0",
    "שלום",
    "#",
    "\x1c",
]
LONG = st.integers(MAX_CHARACTERS - 2, MAX_CHARACTERS + 2).map(lambda n: "é" * n)
TEXT = st.one_of(
    st.lists(st.sampled_from(HOSTILE) | st.text(max_size=3), max_size=8).map("".join),
    st.text(),
    st.integers(0, 200).flatmap(lambda n: LONG if n == 0 else st.just("fine")),
)
ROWS = st.lists(
    st.tuples(TEXT, st.sampled_from(["", "1", "good", 'so "so"', "a, b", "NaN"])), max_size=6
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def is_text(text: str) -> bool:
    """Whether UTF-8 has it."""
    return not re.search("[\ud800-\udfff]", text)


def read(path: pathlib.Path):
    """(the lines as (text, label), the number of refused ones)."""
    errors: list[LineError] = []
    lines = [(x.text, x.labels.get("label", "")) for x in read_lines(path, on_error=errors.append)]
    assert all(str(error).startswith(f"{path}, line ") for error in errors)
    return lines, len(errors)


def kept(rows, readable=lambda text: True):
    """The rows that a reader must give, and how many it must refuse."""
    good = [row for row in rows if len(row[0]) <= MAX_CHARACTERS and "\0" not in row[0]]
    good = [row for row in good if readable(row[0])]
    return good, len(rows) - len(good)


def as_one_line(text: str) -> str:
    """As a CSV's cell is read: a line break in it is a space."""
    return re.sub(r"\s*[\r\n]+\s*", " ", text)


@thorough
@given(rows=ROWS)
def test_lines_of_text_come_back(folder, rows):
    rows = [(text.replace("\n", ""), "") for text, _ in rows if is_text(text)]
    path = folder / "a.txt"
    path.write_bytes("".join(f"{text}\n" for text, _ in rows).encode())
    rows = [
        (text.removeprefix("\ufeff") if n == 0 else text, "") for n, (text, _) in enumerate(rows)
    ]
    rows = [(text.removesuffix("\r"), "") for text, _ in rows]  # part of the line's end
    assert read(path) == kept(rows, lambda text: "\r" not in text)


@thorough
@given(rows=ROWS)
def test_rows_of_a_tsv_come_back(folder, rows):
    rows = [(text.replace("\n", ""), label) for text, label in rows if is_text(text)]
    path = folder / "a.tsv"
    lines = [f"{text}\t{label}\n" for text, label in [("text", "label"), *rows]]
    path.write_bytes("".join(lines).encode())
    # A line of blank cells is a blank one, of whatever width.
    rows = [
        (text if text.strip() or label or "\r" in text else text.split("\t")[0], label)
        for text, label in rows
    ]
    assert read(path) == kept(rows, lambda text: not re.search("[\r\t]", text))


@thorough
@given(
    rows=ROWS,
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_rows_of_a_csv_come_back(folder, rows, quoting, end):
    rows = [row for row in rows if is_text(row[0])]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator=end, quoting=quoting)
    writer.writerows([("text", "label"), *rows])
    path = folder / "a.csv"
    path.write_bytes(stream.getvalue().encode())
    assert read(path) == kept([(as_one_line(text), label) for text, label in rows])


@thorough
@given(rows=ROWS, ascii_only=st.booleans())
def test_objects_of_json_lines_come_back(folder, rows, ascii_only):
    rows = [row for row in rows if ascii_only or is_text(row[0])]
    path = folder / "a.jsonl"
    objects = [{"label": label, "text": text} for text, label in rows]
    lines = [json.dumps(value, ensure_ascii=ascii_only) + "\n" for value in objects]
    path.write_bytes("".join(lines).encode())
    # Two halves that JSON writes apart are one character when they are read.
    rows = [(json.loads(json.dumps(text)), label) for text, label in rows]
    assert read(path) == kept(rows, is_text)


@thorough
@given(rows=ROWS)
def test_rows_of_parquet_come_back(folder, rows):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = [row for row in rows if is_text(row[0])]
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    types = {"text": pa.string(), "label": pa.string()}
    path = folder / "a.parquet"
    pq.write_table(pa.table(columns, schema=pa.schema(types)), path)
    assert read(path) == kept(rows)
