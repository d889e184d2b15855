"""Which columns are read: the chosen ones, else those of the run where a file has them."""

import json

import pytest

from vaetx_jax.data.fields import Fields
from vaetx_jax.data.line_reader import read_lines
from vaetx_jax.errors import UserError

NAMED = Fields("review", ("stars", "shop"))
NUMBERED = Fields("2", ("1",))


def read(path, content, fields):
    path.write_text(content, encoding="utf-8")
    return [(line.text, dict(line.labels)) for line in read_lines(path, fields=fields)]


SAME = [
    ("a.csv", "id,stars,review\n1,good,fine\n"),
    ("a.tsv", "stars\treview\ngood\tfine\n"),
    ("a.jsonl", json.dumps({"stars": "good", "text": "other", "review": "fine"}) + "\n"),
]


@pytest.mark.parametrize(("name", "content"), SAME)
def test_a_runs_columns_are_read_where_a_file_has_them(tmp_path, name, content):
    fields = Fields().or_usual(NAMED)
    assert read(tmp_path / name, content, fields) == [("fine", {"stars": "good"})]


OTHER = [
    ("a.csv", "id,label,text\n1,good,fine\n"),
    ("a.tsv", "fine\tgood\n"),
    ("a.tsv", "label\ttext\ngood\tfine\n"),
    ("a.jsonl", json.dumps({"label": "good", "text": "fine"}) + "\n"),
]


@pytest.mark.parametrize(("name", "content"), OTHER)
@pytest.mark.parametrize("usual", [NAMED, Fields("3", ("1",))])
def test_a_file_without_a_runs_columns_is_read_as_ever(tmp_path, name, content, usual):
    content = content.replace("id,", "").replace("1,good", "good")  # two columns in all
    fields = Fields().or_usual(usual)
    assert read(tmp_path / name, content, fields) == [("fine", {"label": "good"})]


def test_a_file_of_text_has_no_columns(tmp_path):
    assert read(tmp_path / "a.txt", "review\n", Fields().or_usual(NAMED)) == [("review", {})]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_runs_columns_by_number_are_read_in_a_file_of_as_many(tmp_path, name):
    content = "good,fine\nbad,awful\n".replace(",", "," if name == "a.csv" else "\t")
    expected = [("fine", {"label": "good"}), ("awful", {"label": "bad"})]
    assert read(tmp_path / name, content, Fields().or_usual(NUMBERED)) == expected


def test_numbers_are_of_no_use_where_the_columns_have_names(tmp_path):
    fields = Fields().or_usual(NUMBERED)
    assert read(tmp_path / "a.csv", "text,id\nfine,1\n", fields) == [("fine", {})]
    assert read(tmp_path / "a.jsonl", '{"text": "fine", "id": 1}\n', fields) == [("fine", {})]


def test_what_is_chosen_comes_before_the_runs_columns(tmp_path):
    fields = Fields("title").or_usual(NAMED)
    assert read(tmp_path / "a.csv", "title,review\nA,fine\n", fields) == [("A", {})]
    with pytest.raises(UserError, match="no column 'title'"):
        read(tmp_path / "a.csv", "review\nfine\n", fields)


def test_a_runs_column_is_found_in_any_case(tmp_path):
    fields = Fields().or_usual(Fields("Review"))
    assert read(tmp_path / "a.csv", "review\nfine\n", fields) == [("fine", {})]
    assert read(tmp_path / "a.jsonl", '{"review": "fine"}\n', fields) == [("fine", {})]


def test_parquet_is_read_by_a_runs_columns(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"text": ["x"], "stars": [5], "REVIEW": ["fine"]}), tmp_path / "a.parquet"
    )
    lines = list(read_lines(tmp_path / "a.parquet", fields=Fields().or_usual(NAMED)))
    assert [(line.text, dict(line.labels)) for line in lines] == [("fine", {"stars": "5"})]
