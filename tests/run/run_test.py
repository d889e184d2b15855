"""A run on other sentences than its corpus's."""

import dataclasses

import pytest

from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.fields import ANY_FIELDS, Fields
from vaetx_jax.errors import UserError
from vaetx_jax.run.run import on_file, open_run

ROWS = "".join(f"{n % 5},sentence number {n},other\n" for n in range(100))


@pytest.fixture(scope="module")
def run(trained):
    """A run whose own corpus has its sentences in the column review."""
    run = open_run(trained)
    config = run.config.copy_and_resolve_references()
    config.data.corpus, config.data.train = "text", "own.csv"
    config.data.text_column, config.data.label_column = "review", "stars"
    return dataclasses.replace(run, config=config)


def corpus_of(run, path, heading, fields=ANY_FIELDS, *, whole=False):
    path.write_text(f"{heading}\n{ROWS}")
    return on_file(run, str(path), fields, whole=whole).corpus


def test_a_file_is_read_by_the_columns_of_the_runs_own_corpus(run, tmp_path):
    corpus = corpus_of(run, tmp_path / "a.csv", "stars,review,text")
    assert all(text.startswith("sentence number") for text in corpus.split("test").texts())
    assert corpus.label_fields == {"stars": tuple("01234")}
    assert sum(len(corpus.split(split)) for split in SPLITS) == 100


def test_a_file_of_other_columns_is_read_by_their_usual_names(run, tmp_path):
    corpus = corpus_of(run, tmp_path / "a.csv", "label,text,id")
    assert corpus.label_fields == {"label": tuple("01234")}


def test_columns_that_are_chosen_must_be_there(run, tmp_path):
    with pytest.raises(UserError, match="no column 'words'"):
        corpus_of(run, tmp_path / "a.csv", "stars,review,id", Fields("words")).prepare()


def test_every_split_may_be_the_whole_file(run, tmp_path):
    corpus = corpus_of(run, tmp_path / "a.csv", "stars,review,id", whole=True)
    assert [len(corpus.split(split)) for split in SPLITS] == [100, 100, 100]
