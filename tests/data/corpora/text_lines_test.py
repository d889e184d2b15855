"""A user's files: the three kinds, gzip, line ends, and every way they can be bad."""

import collections
import gzip
import os
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaetx_jax.data.corpora.text_lines import MAX_CHARACTERS, has_labels, kind_of, read_lines
from vaetx_jax.errors import UserError


def write(folder: pathlib.Path, name: str, content: bytes | str) -> pathlib.Path:
    path = folder / name
    content = content.encode("utf-8") if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def read(path: pathlib.Path) -> list[tuple[str, str | None]]:
    return [(line.text, line.label) for line in read_lines(path, collections.Counter())]


@pytest.mark.parametrize("name", ["a.txt", "A.TXT", "a.b.txt.gz"])
def test_a_txt_file_holds_a_sentence_a_line(tmp_path, name):
    path = write(tmp_path, name, "one two\n  three  four \n\nlast without line end")
    assert read(path) == [("one two", None), ("three  four", None), ("last without line end", None)]


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
    assert has_labels(path)


def test_a_csv_without_labels_has_none(tmp_path):
    path = write(tmp_path, "a.csv", "text\nx\n\n  \ny\n")
    assert read(path) == [("x", None), ("y", None)]
    assert not has_labels(path)


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


@pytest.mark.parametrize(
    ("name", "content", "blank"),
    [
        ("a.txt", "\n \na\n\t\n", 3),
        ("a.tsv", "\na\tx\n\tx\n \t\n", 3),
        ("a.csv", "text\n\na\n,\n", 2),
    ],
)
def test_blank_lines_are_counted(tmp_path, name, content, blank):
    skipped: collections.Counter[str] = collections.Counter()
    assert len(list(read_lines(write(tmp_path, name, content), skipped))) == 1
    assert skipped == {"blank lines": blank}


def test_line_numbers_count_from_one(tmp_path):
    path = write(tmp_path, "a.txt", "a\n\nb\n")
    assert [line.number for line in read_lines(path, collections.Counter())] == [1, 3]


@settings(max_examples=50, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")))
)
def test_any_text_is_read_as_it_was_written(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("any") / "a.txt"
    path.write_bytes("".join(f"{text}\n" for text in texts).encode("utf-8"))
    if texts and texts[0].startswith("\ufeff"):
        texts = [texts[0][1:], *texts[1:]]
    assert [text for text, _ in read(path)] == [text.strip() for text in texts if text.strip()]


@pytest.mark.parametrize("name", ["a", "a.md", "a.gz", "a.txt.zip"])
def test_an_unknown_kind_is_told(name):
    with pytest.raises(UserError, match=r"unknown kind of file.*\.txt, \.tsv, \.csv"):
        kind_of(pathlib.Path(name))


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
    ("line", "problem"),
    [
        ("only text", "the label is missing"),
        ("text\t", "the label is missing"),
        ("text\t \n", "the label is missing"),
        ("id\ttext\t1", "3 columns"),
    ],
)
def test_a_tsv_line_without_exactly_one_label_is_told(tmp_path, line, problem):
    path = write(tmp_path, "a.tsv", f"fine\t1\n{line}")
    with pytest.raises(UserError, match=rf"a\.tsv, line 2: {problem}"):
        read(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("id,label\n1,x\n", r"line 1: no column 'text' in the heading \('id', 'label'\)"),
        ("", "line 1: no column 'text' in the heading .none at all"),
        ("text;label\na;b\n", "line 1: no column 'text'"),
        ("id,text\n1\n", "line 2: 1 columns"),
        ("text,label\na,x\nb,\n", "line 3: the label is missing"),
        ('text,label\n"a,x\nb,y\n', "line 3: not valid CSV .*quotation mark"),
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
