"""The public corpora from their real files: the published rows, cleaned as described."""

import dataclasses
import itertools
import pathlib

import pytest

from vaetx_jax.data.corpora import sst2
from vaetx_jax.data.corpora.base import Corpus
from vaetx_jax.data.corpora.corpus import CorpusSpec, PublicCorpus, open_corpus
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.errors import UserError


def texts(corpus: Corpus, split: str) -> list[str]:
    return list(corpus.split(split).texts())


def built(cache: pathlib.Path) -> list[pathlib.Path]:
    """What a builder left behind."""
    return [path for path in (cache / "tfds").rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def public(real_data, tmp_path_factory) -> dict[str, Corpus]:
    cache = tmp_path_factory.mktemp("public")
    return {
        name: open_corpus(CorpusSpec(name, cache, manual_dir=str(real_data)))
        for name in ("ptb", "wikitext2", "sst2", "air")
    }


@pytest.mark.parametrize(
    ("name", "sizes", "words"),
    [
        ("ptb", (42_068, 3_370, 3_761), (887_521, 70_390, 78_669)),
        ("wikitext2", (17_556, 1_841, 2_185), None),
        ("sst2", (6_920, 872, 1_821), None),
        ("air", (9_266, 1_145, 1_130), None),
    ],
)
def test_public_corpora_have_the_published_rows(public, name, sizes, words):
    splits = [texts(public[name], split) for split in SPLITS]
    assert tuple(map(len, splits)) == sizes
    assert all(text and text == text.strip() and "\n" not in text for s in splits for text in s)
    if words:
        assert tuple(sum(len(text.split()) for text in s) for s in splits) == words


def test_wikitext2_keeps_paragraphs_only(public):
    train = texts(public["wikitext2"], "train")
    assert train[0].startswith("Senjō no Valkyria 3 : <unk> Chronicles ( Japanese :")
    assert sum(text.count("\ufeff") for text in train) == 36
    assert not any(text.startswith("= ") and text.endswith(" =") for text in train)
    assert "dropped 15,717 blank lines, 7,537 headings" in public["wikitext2"].describe()


def test_sst2_has_the_published_label_shares(public):
    shares = []
    for split in SPLITS:
        labels = [row.labels["label"] for row in public["sst2"].split(split)]
        shares.append(round(100 * sum(labels) / len(labels), 1))
    assert shares == [52.2, 50.9, 49.9]
    quoted = [text for text in texts(public["sst2"], "train") if '"' in text or "-lrb-" in text]
    assert quoted
    assert public["sst2"].split("train")[0].labels == {"label": 1}


def test_air_drops_neutral_tweets_and_keeps_repeats_on_one_side(public):
    parts = [texts(public["air"], split) for split in SPLITS]
    assert sum(map(len, parts)) == 11_541
    assert all(set(a).isdisjoint(b) for a, b in itertools.combinations(parts, 2))
    assert sum(map(len, parts)) - len(set().union(*parts)) == 160
    assert not any("&amp;" in text or "\r" in text for part in parts for text in part)
    labels = [row.labels["label"] for split in SPLITS for row in public["air"].split(split)]
    assert labels.count(0) == 9_178
    assert labels.count(1) == 2_363
    assert "negative 79.6%" in public["air"].describe()


def test_a_truncated_public_file_is_told(real_data, tmp_path):
    folder = tmp_path / "ptb"
    folder.mkdir()
    for split in SPLITS:
        (folder / f"{split}.txt").write_bytes((real_data / f"ptb/{split}.txt").read_bytes())
    cut = (folder / "test.txt").read_bytes().splitlines(keepends=True)[:3_000]
    (folder / "test.txt").write_bytes(b"".join(cut))
    corpus = open_corpus(CorpusSpec("ptb", tmp_path / "cache", manual_dir=str(tmp_path)))
    with pytest.raises(UserError, match=r"test\.txt.*3,000 lines instead of 3,761: .*truncated"):
        corpus.prepare()
    assert built(tmp_path / "cache") == []


def test_a_wrong_number_of_rows_is_refused(real_data, tmp_path):
    source = dataclasses.replace(sst2.SOURCE, rows={"train": 1, "valid": 1, "test": 1})
    corpus = PublicCorpus(source, str(real_data), tmp_path)
    with pytest.raises(UserError, match=r"'train': 6920.* instead of .*'train': 1"):
        corpus.prepare()
    assert built(tmp_path) == []
