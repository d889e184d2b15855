"""A user's files: their kinds, gzip, line ends, and every way they can be bad."""

import collections
import gzip
import io
import json
import os
import pathlib
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaetx_jax.data.decoded_lines import MAX_CHARACTERS, LineError
from vaetx_jax.data.line_reader import kind_of, read_lines
from vaetx_jax.errors import UserError


def write(folder: pathlib.Path, name: str, content: bytes | str) -> pathlib.Path:
    path = folder / name
    content = content.encode("utf-8") if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def read(path: pathlib.Path, **how) -> list[tuple[str, str | None]]:
    return [(line.text, line.labels.get("label")) for line in read_lines(path, **how)]


@pytest.mark.parametrize("name", ["a.txt", "A.TXT", "a.b.txt.gz"])
def test_a_txt_file_holds_a_sentence_a_line(tmp_path, name):
    path = write(tmp_path, name, "one two\n  three  four \n\nlast without line end")
    lines = ["one two", "  three  four ", "", "last without line end"]
    assert read(path) == [(line, None) for line in lines]


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_a_tsv_file_holds_text_and_label(tmp_path, name):
    path = write(tmp_path, name, 'a "quoted one\t1\nb, c\tbad \n')
    assert read(path) == [('a "quoted one', "1"), ("b, c", "bad")]


def test_a_heading_line_of_a_tsv_is_no_sentence(tmp_path):
    path = write(tmp_path, "a.tsv", "sentence\tlabel\nfine\t1\nsentence\tlabel\n")
    assert read(path) == [("fine", "1"), ("sentence", "label")]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_csv_file_has_named_columns(tmp_path, name):
    path = write(tmp_path, name, 'id,label,text\n1,pos,"a, ""b"""\n2,neg,"two\nlines"\n')
    assert read(path) == [('a, "b"', "pos"), ("two lines", "neg")]


def test_a_csv_without_labels_has_none(tmp_path):
    path = write(tmp_path, "a.csv", "text\nx\n\n  \ny\n")
    assert read(path) == [("x", None), ("", None), ("  ", None), ("y", None)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\ufeffone\r\ntwo\r\n"),
        ("a.tsv", "\ufeffone\tx\r\ntwo\tx\r\n"),
        ("a.csv", "\ufefftext,label\r\none,x\r\ntwo,x\r\n"),
    ],
)
def test_windows_line_ends_and_a_byte_order_mark_are_no_text(tmp_path, name, content):
    assert [text for text, _ in read(write(tmp_path, name, content))] == ["one", "two"]


def test_other_line_separators_are_part_of_the_text(tmp_path):
    text = "a\u2028b\x0bc\x85d\ufeffe"
    assert read(write(tmp_path, "a.txt", text + "\n")) == [(text, None)]


def test_a_heading_is_counted(tmp_path):
    skipped: collections.Counter[str] = collections.Counter()
    path = write(tmp_path, "a.tsv", "sentence\tlabel\nfine\t1\n")
    assert [line.number for line in read_lines(path, skipped=skipped)] == [2]
    assert skipped == {"heading lines": 1}


@pytest.mark.parametrize(
    ("name", "content", "numbers"),
    [
        ("a.txt", "a\n\nb\n", [1, 2, 3]),
        ("a.tsv", "a\tx\n\nb\tx\n", [1, 2, 3]),
        ("a.csv", 'text\na\n\n"b\nb"\nc\n', [2, 3, 5, 6]),
        ("a.jsonl", '"a"\n"b"\n', [1, 2]),
    ],
)
def test_line_numbers_count_from_one(tmp_path, name, content, numbers):
    assert [line.number for line in read_lines(write(tmp_path, name, content))] == numbers


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_a_line_may_lack_its_label(tmp_path, name):
    heading = "text,label\n" if name == "a.csv" else ""
    separator = "," if name == "a.csv" else "\t"
    path = write(tmp_path, name, f"{heading}one{separator}x\ntwo{separator}\n")
    assert read(path) == [("one", "x"), ("two", None)]


def test_standard_input_is_text(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ttwo\n")))
    assert [line.text for line in read_lines("-")] == ["one\ttwo"]


@pytest.mark.parametrize("name", ["a", "a.md"])
def test_a_file_of_any_other_name_is_text(tmp_path, name):
    assert read(write(tmp_path, name, "text,label\n")) == [("text,label", None)]


def test_the_kind_may_be_said(tmp_path):
    path = write(tmp_path, "a.csv", '"one"\n')
    assert [line.text for line in read_lines(path, kind=".txt")] == ['"one"']
    assert [line.text for line in read_lines(path, kind=".jsonl")] == ["one"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.NDJSON", "a.jsonl.gz"])
def test_json_lines_are_texts_or_objects(tmp_path, name):
    path = write(tmp_path, name, '"one"\n["two"]\n{"id": 1, "text": "three"}\n')
    assert [line.text for line in read_lines(path)] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "one\ttwo\n"),
        ("a.tsv", "one\ttwo\n"),
        ("a.csv", "b,label,a\ntwo,x,one\n"),
        ("a.jsonl", '["one", "two"]\n'),
        ("a.jsonl", '{"b": "two", "a": "one"}\n'),
    ],
)
def test_a_line_may_hold_two_sentences(tmp_path, name, content):
    (line,) = read_lines(write(tmp_path, name, content), columns=2)
    assert line.texts == ("one", "two")
    assert line.labels == {}


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_all_kinds_give_the_same_sentences(tmp_path, suffix):
    texts = ["one two", "a, b", "é 😀"]
    contents = {
        "a.txt": "".join(f"{text}\n" for text in texts),
        "a.tsv": "".join(f"{text}\tx\n" for text in texts),
        "a.csv": "text,label\n" + "".join(f'"{text}",x\n' for text in texts),
        "a.jsonl": "".join(f"{json.dumps({'text': text})}\n" for text in texts),
    }
    for name, content in contents.items():
        path = write(tmp_path, name + suffix, content)
        assert [line.text for line in read_lines(path)] == texts


@pytest.mark.parametrize(
    ("name", "content", "numbers"),
    [
        ("a.txt", b"fine\n\xff\nfine\n", [1, 3]),
        ("a.txt", b"fine\n" + b"x" * 5_000_000 + b"\nfine\n", [1, 3]),
        ("a.txt", b"fine\nnul\0\nfine\n", [1, 3]),
        ("a.tsv", b"fine\tx\na\tb\tc\nfine\tx\n", [1, 3]),
        ("a.csv", b"text,label\nfine,x\nshort\nfine,x\n", [2, 4]),
        ("a.csv", b'text\nfine\n"two \xff\nlines"\nfine\n', [2, 5]),
        ("a.jsonl", b'"fine"\n{"text"\n"fine"\n', [1, 3]),
    ],
)
def test_a_broken_line_can_be_left_out(tmp_path, name, content, numbers):
    errors: list[LineError] = []
    lines = list(read_lines(write(tmp_path, name, content), on_error=errors.append))
    assert [line.number for line in lines] == numbers
    assert {line.text for line in lines} == {"fine"}
    (error,) = errors
    assert str(error).startswith(f"{tmp_path / name}, line ")


@pytest.mark.parametrize("content", ['text\n"open\nnext\n', 'text\n"a"b\nnext\n'])
def test_a_csv_with_an_open_quotation_mark_is_never_read_on(tmp_path, content):
    with pytest.raises(UserError, match="not valid CSV"):
        list(read_lines(write(tmp_path, "a.csv", content), on_error=lambda _: None))


@settings(max_examples=50, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")))
)
def test_any_text_is_read_as_it_was_written(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("any") / "a.txt"
    path.write_bytes("".join(f"{text}\n" for text in texts).encode("utf-8"))
    if texts and texts[0].startswith("\ufeff"):
        texts = [texts[0][1:], *texts[1:]]
    assert [text for text, _ in read(path)] == texts


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", ".txt"),
        ("b/A.TSV.GZ", ".tsv"),
        ("a.txt.csv", ".csv"),
        *((name, "") for name in ("-", "a", "a.md", "a.gz", "a.txt.zip")),
    ],
)
def test_the_kind_is_the_end_of_the_name(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_what_is_not_utf8_is_told_with_line_and_byte(tmp_path, name):
    path = write(tmp_path, name, b"fine\nnot \xe9 fine\n")
    with pytest.raises(UserError, match=r"line 2, byte 9: not UTF-8"):
        read(path)


def test_utf16_is_recognised(tmp_path):
    with pytest.raises(UserError, match=r"line 1, byte 0: not UTF-8 .*UTF-16"):
        read(write(tmp_path, "a.txt", "hello".encode("utf-16")))
    with pytest.raises(UserError, match="line 1: it holds a NUL byte"):
        read(write(tmp_path, "b.txt", "hello".encode("utf-16-le")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"one\ntwo\n"), r"not text but gzip data; .*\.gz"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}\n", "not text but an array of numpy"),
        (b"PK\x03\x04\x14\x00\n", r"not text but a zip archive, as \.docx"),
        (b"PAR1\x15\x04\n", r"not text but Parquet; .*\.parquet"),
    ],
    ids=["gzip", "numpy", "zip", "parquet"],  # not the content: gzip writes the time into it
)
def test_a_file_that_is_not_text_is_told_by_its_kind(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        read(write(tmp_path, "a.txt", content), on_error=lambda error: None)


def test_a_tsv_line_of_three_columns_is_told(tmp_path):
    path = write(tmp_path, "a.tsv", "fine\t1\nid\ttext\t1")
    with pytest.raises(UserError, match=r"a\.tsv, line 2: 3 columns"):
        read(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("id,label\n1,x\n", r"line 1: no column 'text' in the header line \('id', 'label'\)"),
        ("", "line 1: no column 'text' in the header line .none at all"),
        ("text;label\na;b\n", "line 1: no column 'text'"),
        ("id,text\n1\n", "line 2: 1 columns"),
        ('text,label\n"a,x\nb,y\n', "line 2: not valid CSV.*quotation mark"),
        ('text,label\n"a"b,x\n', "line 2: not valid CSV"),
    ],
)
def test_a_bad_csv_is_told_with_its_line(tmp_path, content, problem):
    with pytest.raises(UserError, match=problem):
        read(write(tmp_path, "a.csv", content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "short\n{}\n"),
        ("a.txt.gz", "short\n{}"),
        ("a.tsv", "short\tx\n{}\tx\n"),
        ("a.csv", "text\n{}\n"),
        ("b.csv", 'text\n"{}"\n'),
    ],
)
@pytest.mark.parametrize("length", [MAX_CHARACTERS + 1, 140_000, 1_000_000])
def test_a_line_of_a_million_characters_is_told(tmp_path, name, content, length):
    path = write(tmp_path, name, content.format("x" * length))
    with pytest.raises(UserError, match="line 2: longer than 100,000 characters"):
        read(path)


def test_a_long_cell_that_is_not_read_does_no_harm(tmp_path):
    path = write(tmp_path, "a.csv", f'text,html\n"one","{"x" * 140_000}"\ntwo,y\n')
    assert read(path) == [("one", None), ("two", None)]


def test_an_empty_line_of_json_is_the_empty_sentence(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"text": "one"}\n\n"two"\n \n')
    assert [(line.number, line.text) for line in read_lines(path)] == [
        (1, "one"),
        (2, ""),
        (3, "two"),
        (4, ""),
    ]


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_a_line_of_the_longest_length_is_read(tmp_path, character):
    text = character * MAX_CHARACTERS
    assert read(write(tmp_path, "a.txt", text + "\r\n")) == [(text, None)]


@pytest.mark.parametrize("cut", [0.5, 0.98])
def test_a_broken_gzip_file_is_told(tmp_path, cut):
    whole = gzip.compress(os.urandom(5_000).hex().encode() + b"\n")
    (tmp_path / "a.txt.gz").write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(UserError, match="broken gzip data"):
        read(tmp_path / "a.txt.gz")


def test_a_gzip_name_on_plain_text_is_told(tmp_path):
    (tmp_path / "a.txt.gz").write_text("plain\n")
    with pytest.raises(UserError, match="broken gzip data"):
        read(tmp_path / "a.txt.gz")


def test_a_flipped_byte_in_gzip_data_is_told(tmp_path):
    content = bytearray(gzip.compress(b"a sentence\n" * 1_000))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.txt.gz").write_bytes(content)
    with pytest.raises(UserError, match="broken gzip data"):
        read(tmp_path / "a.txt.gz")


def test_a_missing_file_or_a_folder_is_told(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*No such file"):
        read(tmp_path / "none.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*directory"):
        read(tmp_path / "folder.txt")
