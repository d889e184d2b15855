"""The corpus `text`: which sentences make which split, and what is refused before building."""

import collections
import itertools
import pathlib

import pytest

from vaetx_jax.data.corpora.base import Corpus
from vaetx_jax.data.corpora.corpus import CorpusSpec, open_corpus
from vaetx_jax.data.corpora.rows import Row
from vaetx_jax.data.corpora.splits import SPLITS, rank_splits, split_of
from vaetx_jax.data.corpora.text_files import TextFiles
from vaetx_jax.data.fields import Fields
from vaetx_jax.errors import UserError


def text_corpus(folder: pathlib.Path, content: str, name: str = "a.txt", **changes) -> Corpus:
    (folder / name).write_text(content, encoding="utf-8")
    return open_corpus(CorpusSpec("text", folder / "cache", train=str(folder / name), **changes))


def texts(corpus: Corpus, split: str) -> list[str]:
    return list(corpus.split(split).texts())


def built(cache: pathlib.Path) -> list[pathlib.Path]:
    """What a builder left behind."""
    return [path for path in (cache / "tfds").rglob("*") if path.is_file()]


@pytest.mark.parametrize("sentences", range(3, 12))
@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.45, 0.45), (0.5, 0.4), (0.05, 0.9)])
def test_few_sentences_leave_no_split_empty_whatever_the_shares(sentences, shares):
    assigned = rank_splits(map(str, range(sentences)), *shares)
    assert set(assigned.values()) == set(SPLITS)


MANY = "".join(f"sentence number {i}\n" for i in range(300))


def test_text_holds_out_shares_by_hash(tmp_path):
    corpus = text_corpus(tmp_path, MANY + "\n\n" + MANY)
    parts = [texts(corpus, split) for split in SPLITS]
    assert sum(map(len, parts)) == 600
    assert sorted(set().union(*parts)) == sorted(MANY.splitlines())
    assert all(set(a).isdisjoint(b) for a, b in itertools.combinations(parts, 2))
    assert 400 < len(parts[0]) < 540
    assert corpus.label_fields == {}
    assert not corpus.has_log_prob
    assert corpus.split("train")[0] == Row(parts[0][0], {}, None)
    assert corpus.describe().endswith("rows; dropped 2 blank lines")


def test_a_share_does_not_move_the_other_sentences(tmp_path):
    (tmp_path / "b").mkdir()
    some, more = text_corpus(tmp_path, MANY), text_corpus(tmp_path / "b", MANY + "one more\n")
    for split in SPLITS:
        assert set(texts(some, split)) <= set(texts(more, split))


def test_hash_shares_are_about_right():
    places = collections.Counter(split_of(str(i), 0.2, 0.05) for i in range(20_000))
    for split, share in (("train", 0.75), ("valid", 0.2), ("test", 0.05)):
        assert abs(places[split] / 20_000 - share) < 0.015


def test_text_reads_files_for_each_split(tmp_path):
    (tmp_path / "v.tsv").write_text("v one\tb\nv two\ta\n")
    (tmp_path / "t.csv").write_text("text,label\nt one,c\n")
    corpus = text_corpus(
        tmp_path, "one\tb\ntwo\ta\n", "a.tsv", valid=f"{tmp_path}/v.tsv", test=f"{tmp_path}/t.csv"
    )
    assert corpus.label_fields == {"label": ("a", "b", "c")}
    assert list(corpus.split("train")) == [
        Row("one", {"label": 1}, None),
        Row("two", {"label": 0}, None),
    ]
    assert texts(corpus, "valid") == ["v one", "v two"]
    assert corpus.split("test")[0].labels == {"label": 2}
    assert "train a 50.0%, b 50.0%, c 0.0%" in corpus.describe()


def test_a_test_file_leaves_the_share_for_validation(tmp_path):
    (tmp_path / "t.txt").write_text("of the test\n")
    corpus = text_corpus(tmp_path, MANY, test=f"{tmp_path}/t.txt")
    assert texts(corpus, "test") == ["of the test"]
    assert len(texts(corpus, "train")) + len(texts(corpus, "valid")) == 300


def test_a_changed_file_is_another_corpus(tmp_path):
    first = text_corpus(tmp_path, MANY)
    first.prepare()
    second = text_corpus(tmp_path, MANY.replace("number", "no"))
    assert second.fingerprint != first.fingerprint
    assert texts(second, "test")[0].startswith("sentence no ")
    assert text_corpus(tmp_path, MANY, valid_share=0.2).fingerprint != first.fingerprint


def test_the_place_of_a_file_does_not_matter(tmp_path):
    (tmp_path / "b").mkdir()
    assert text_corpus(tmp_path, MANY).fingerprint == text_corpus(tmp_path / "b", MANY).fingerprint


@pytest.mark.parametrize(("content", "blank"), [("", 0), ("\n \n\n", 3)])
def test_a_file_without_sentences_is_told(tmp_path, content, blank):
    with pytest.raises(UserError, match=rf"a\.txt: no sentence in it \({blank} blank lines\)"):
        text_corpus(tmp_path, content).prepare()
    assert built(tmp_path / "cache") == []


def test_too_few_sentences_for_a_share_are_told(tmp_path):
    with pytest.raises(UserError, match="2 different sentences in 3 lines; at least 3 are needed"):
        text_corpus(tmp_path, "one\ntwo\none\n").prepare()


def test_one_sentence_over_and_over_is_told(tmp_path):
    with pytest.raises(UserError, match="1 different sentence in 300 lines"):
        text_corpus(tmp_path, "the same\n" * 300).prepare()


def test_lines_are_counted_once_where_every_split_is_the_same_file(tmp_path):
    path = tmp_path / "turned.tsv"
    path.write_text("".join(f"good\tsentence {number}\n" for number in range(30)))
    files = TextFiles(str(path), str(path), str(path))
    with pytest.raises(UserError, match=r"1 different sentence in 30 lines\. Its columns"):
        assert files.survey


def test_one_sentence_is_enough_to_train_where_the_others_are_given(tmp_path):
    (tmp_path / "v.txt").write_text("v\n")
    held_out = {"valid": f"{tmp_path}/v.txt", "test": f"{tmp_path}/v.txt"}
    assert texts(text_corpus(tmp_path, "the same\n", **held_out), "train") == ["the same"]


@pytest.mark.parametrize("count", [3, 5, 12])
def test_a_few_sentences_reach_every_split(tmp_path, count):
    corpus = text_corpus(tmp_path, "".join(f"number {n}\n" for n in range(count)) * 2)
    parts = [set(texts(corpus, split)) for split in SPLITS]
    assert len(parts[1]) == len(parts[2]) == 1
    assert len(set.union(*parts)) == count
    assert sum(len(corpus.split(split)) for split in SPLITS) == 2 * count


def test_a_share_too_small_for_a_large_corpus_is_told(tmp_path):
    content = "".join(f"number {n}\n" for n in range(1_500))
    with pytest.raises(UserError, match="no sentence falls into the share of 1e-06 for"):
        text_corpus(tmp_path, content, test_share=1e-6).prepare()


@pytest.mark.parametrize(
    ("kind", "content", "held_out"),
    [
        (".txt", "\n \n a \n\t\n", "one\n"),
        (".tsv", "\n a\tx\n\tx\n \t\n", "one\tx\n"),
        (".csv", "text\n\n a \n,\n \n", "text\none\n"),
    ],
)
def test_blank_lines_are_counted_and_spaces_at_the_ends_dropped(tmp_path, kind, content, held_out):
    other = tmp_path / f"b{kind}"
    other.write_text(held_out)
    corpus = text_corpus(tmp_path, content, f"a{kind}", valid=str(other), test=str(other))
    assert texts(corpus, "train") == ["a"]
    assert "dropped 3 blank lines" in corpus.describe()


@pytest.mark.parametrize(
    ("name", "content", "changes"),
    [
        ("a.tsv", "\nonly text\nand more\t \n", {}),
        ("a.csv", "text,sort\na,\nb,\n", {"fields": Fields(labels=("sort",))}),
    ],
)
def test_labels_that_are_missing_everywhere_are_told(tmp_path, name, content, changes):
    with pytest.raises(UserError, match=r"a\.\w+, line 2: the label is missing\. "):
        text_corpus(tmp_path, content, name, **changes).prepare()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "a\tx\nb\nc\t \nd\ty\n"),
        ("a.csv", "text,label\na,x\nb,\nc,  \nd,y\n"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n"b"\n{"text": "c"}\n{"text":"d","label":"y"}\n'),
    ],
)
def test_rows_without_a_label_are_kept_and_counted(tmp_path, name, content):
    (tmp_path / "v.csv").write_text("text,label\nv,x\n")
    held_out = {"valid": f"{tmp_path}/v.csv", "test": f"{tmp_path}/v.csv"}
    corpus = text_corpus(tmp_path, content, name, **held_out)
    rows = [(row.text, row.labels["label"]) for row in corpus.split("train")]
    assert rows == [("a", 0), ("b", -1), ("c", -1), ("d", 1)]
    assert "train x 50.0%, y 50.0%; 2 rows without a label" in corpus.describe()


def test_a_bad_line_far_down_leaves_nothing(tmp_path):
    corpus = text_corpus(tmp_path, "fine\tx\n" * 500 + "not\tfine\tx\n", "a.tsv")
    with pytest.raises(UserError, match=r"a\.tsv, line 501: 3 columns"):
        corpus.prepare()
    assert built(tmp_path / "cache") == []


def test_a_column_of_texts_is_no_label(tmp_path):
    content = "".join(f"text\tlabel {i}\n" for i in range(1_200))
    with pytest.raises(UserError, match="line 1001: more than 1,000 different labels"):
        text_corpus(tmp_path, content, "a.tsv").prepare()


def test_labels_in_one_file_only_are_told(tmp_path):
    (tmp_path / "v.txt").write_text("v\n")
    corpus = text_corpus(tmp_path, "a\tx\n", "a.tsv", valid=f"{tmp_path}/v.txt")
    with pytest.raises(UserError, match=r"a\.tsv has labels and .*v\.txt has none"):
        corpus.prepare()


def test_a_relative_path_is_told_with_the_folder_it_counts_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"there is none.*the current folder is {tmp_path}"):
        open_corpus(CorpusSpec("text", tmp_path, train="none.txt"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.txt", "there is none"),
        ("", "this is a folder, and none that save_to_disk"),
        ("a.md", r"unknown kind of file.*\.txt, \.tsv, \.csv"),
    ],
)
def test_a_missing_or_unknown_file_is_told_on_opening(tmp_path, name, message):
    (tmp_path / "a.md").write_text("x\n")
    with pytest.raises(UserError, match=message):
        open_corpus(CorpusSpec("text", tmp_path, train=str(tmp_path / name)))
