"""The files that people bring, by kind: each is read as it is meant, or refused with the cause."""

import csv
import io
import json
import pathlib

import pytest

from vaetx_jax.data.corpora.corpus import CorpusSpec, open_corpus
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.fields import Fields
from vaetx_jax.data.line_reader import read_lines
from vaetx_jax.data.tokenizers.sentencepiece import train_sentencepiece
from vaetx_jax.errors import UserError

SENTENCES = [
    f"the {a} {b} {c} {d}"
    for a in ("plain", "loud", "small", "rusty", "brisk")
    for b in ("compass", "lantern", "garden")
    for c in ("spins", "rolls", "hums", "sings")
    for d in ("behind the bakery", "without a sound", "before noon", "in the attic")
]
LABELS = [("calm", "loud")[len(text) % 2] for text in SENTENCES]
PAIRS = list(zip(SENTENCES, LABELS, strict=True))


def csv_of(rows, heading=("text", "label")) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([heading, *rows])
    return stream.getvalue()


def lines_of(texts) -> str:
    return "".join(f"{text}\n" for text in texts)


def json_of(rows) -> str:
    return lines_of(json.dumps({"text": text, "label": label}) for text, label in rows)


def corpus_of(path: pathlib.Path, **changes):
    return open_corpus(CorpusSpec("text", path.parent / "cache", train=str(path), **changes))


def texts_of(corpus) -> list[str]:
    return [text for split in SPLITS for text in corpus.split(split).texts()]


BASE = {
    "base.txt": lines_of(SENTENCES),
    "base.tsv": lines_of(f"{text}\t{label}" for text, label in PAIRS),
    "base.csv": csv_of(PAIRS),
    "base.jsonl": json_of(PAIRS),
}


def test_every_kind_of_file_makes_the_same_splits(tmp_path):
    splits = []
    for name, content in BASE.items():
        (tmp_path / name).write_text(content)
        corpus = corpus_of(tmp_path / name)
        splits.append([list(corpus.split(split).texts()) for split in SPLITS])
        labelled = name != "base.txt"
        assert corpus.label_fields == ({"label": ("calm", "loud")} if labelled else {})
    assert all(split == splits[0] for split in splits)
    assert sum(map(len, splits[0])) == len(SENTENCES)


@pytest.mark.parametrize("name", BASE)
def test_a_command_reads_the_same_sentences_without_heading_or_label(tmp_path, name):
    (tmp_path / name).write_text(BASE[name])
    assert [line.text for line in read_lines(tmp_path / name)] == SENTENCES


COMMAS = [
    (n, f"{text}, they say" if n % 20 == 3 else text, "x") for n, text in enumerate(SENTENCES)
]
OPEN = csv_of(PAIRS).splitlines()
OPEN[21] = f'"{OPEN[21]}'
RARE = [(text, f"rare{n}") for n, text in enumerate(SENTENCES)]

# name -> (content, what the message says)
REFUSED = {
    "commas_three.csv": (
        "id,text,label\n" + lines_of(",".join(map(str, row)) for row in COMMAS),
        "line 5: 4 columns where 3 are expected. Quote a text",
    ),
    "commas_one.csv": ("text\n" + lines_of(["a, b", "c"]), "line 2: 2 columns where 1 is expected"),
    "cr.txt": ("\r".join(SENTENCES), "line 1: its line ends are CR"),
    "cr.csv": ("text,label\rone,a\rtwo,b\r", "line 1: its line ends are CR"),
    "heading.tsv": (
        "review\tsentiment\n" + BASE["base.tsv"],
        r"line 1: this looks like a header line \('review', 'sentiment'\).*data.text_column=review "
        "data.label_column=sentiment",
    ),
    "heading.csv": (
        csv_of([(b, a) for a, b in PAIRS], ("label", "review")),
        r"no column 'text' in the header line \('label', 'review'\).*data.text_column",
    ),
    "label_first.tsv": (
        lines_of(f"{label}\t{text}" for text, label in PAIRS),
        "2 different sentences .*the other way round.*data.text_column=2 data.label_column=1",
    ),
    "all_same.txt": ("the same\n" * 300, "1 different sentence in 300 lines"),
    "open_quote.csv": (lines_of(OPEN), "line 22: not valid CSV: a quotation mark opens"),
    "columns.txt": (BASE["base.txt"], "a .txt file has no columns"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_meant_so_is_refused_with_its_cause(tmp_path, name):
    content, words = REFUSED[name]
    (tmp_path / name).write_bytes(content.encode())
    changes = {"fields": Fields("2")} if name == "columns.txt" else {}
    with pytest.raises(UserError, match=f"(?s){name}.*{words}"):
        corpus_of(tmp_path / name, **changes).prepare()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != name]


SMILES = [(f"CC(=O)Nc{n}ccccc1\\C=C/{n}", "train") for n in range(40)]

# name -> (content, columns, the sentences, the label fields)
READ = {
    "heading.csv": (
        csv_of([(label, text) for text, label in PAIRS], ("label", "review")),
        Fields("review", ("label",)),
        SENTENCES,
        {"label": ("calm", "loud")},
    ),
    "heading.tsv": (
        "Text\tLabel\n" + BASE["base.tsv"],
        Fields(),
        SENTENCES,
        {"label": ("calm", "loud")},
    ),
    "label_first.tsv": (
        lines_of(f"{label}\t{text}" for text, label in PAIRS),
        Fields("2", ("1",)),
        SENTENCES,
        {"label": ("calm", "loud")},
    ),
    "smiles.csv": (
        csv_of(SMILES, ("SMILES", "SPLIT")),
        Fields("SMILES"),
        [text for text, _ in SMILES],
        {},
    ),
    "two_labels.jsonl": (
        lines_of(
            json.dumps({"q": text, "topic": "x", "stars": n % 3})
            for n, text in enumerate(SENTENCES)
        ),
        Fields("q", ("topic", "stars")),
        SENTENCES,
        {"topic": ("x",), "stars": ("0", "1", "2")},
    ),
    "five.txt": (lines_of(SENTENCES[:5]), Fields(), SENTENCES[:5], {}),
    "some_missing.csv": (
        csv_of([(text, label if n % 3 else "") for n, (text, label) in enumerate(PAIRS)]),
        Fields(),
        SENTENCES,
        {"label": ("calm", "loud")},
    ),
    "rare.csv": (csv_of(RARE), Fields(), SENTENCES, {"label": tuple(sorted(x for _, x in RARE))}),
    "emoji.txt": (
        lines_of(f"{text} 👩‍👩‍👧❤️ 🏳️‍🌈" for text in SENTENCES),
        Fields(),
        [f"{text} 👩‍👩‍👧❤️ 🏳️‍🌈" for text in SENTENCES],
        {},
    ),
    "spaces.txt": (
        lines_of(f"  the   {text}\tend   " for text in SENTENCES),
        Fields(),
        [f"the   {text}\tend" for text in SENTENCES],
        {},
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_file_is_read_as_it_is_meant_and_its_sentences_come_back(tmp_path, name):
    content, fields, sentences, labels = READ[name]
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    corpus = corpus_of(tmp_path / name, fields=fields)
    assert sorted(texts_of(corpus)) == sorted(sentences)
    assert corpus.label_fields == labels
    assert all(len(corpus.split(split)) for split in SPLITS)
    trained_on = list(corpus.split("train").texts())
    tokenizer = train_sentencepiece("bpe", trained_on, 400)
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(trained_on)] == trained_on


def test_rows_without_a_label_and_headings_are_counted(tmp_path):
    for name, words in (
        ("some_missing.csv", "80 rows without a label"),
        ("heading.tsv", "dropped 1"),
    ):
        (tmp_path / name).write_text(READ[name][0])
        assert words in corpus_of(tmp_path / name).describe()


def test_broken_lines_may_be_left_out_and_are_counted(tmp_path):
    (tmp_path / "a.csv").write_text(REFUSED["commas_three.csv"][0])
    corpus = corpus_of(tmp_path / "a.csv", on_error="skip")
    assert len(texts_of(corpus)) == len(SENTENCES) - 12
    assert "dropped 12 broken lines" in corpus.describe()


def test_parquet_is_a_table_like_the_others(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    labels = [None if n % 3 else label for n, (_, label) in enumerate(PAIRS)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": range(len(PAIRS)), "review": SENTENCES, "kind": labels}), path)
    with pytest.raises(UserError, match=r"no column 'text'; it has 'id', 'rev"):
        corpus_of(path).prepare()
    corpus = corpus_of(path, fields=Fields("review", ("kind",)))
    assert sorted(texts_of(corpus)) == sorted(SENTENCES)
    assert corpus.label_fields == {"kind": ("calm", "loud")}
    assert "160 rows without a label (kind)" in corpus.describe()


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("name", BASE)
def test_every_kind_may_be_compressed(tmp_path, name, ending):
    import bz2
    import gzip
    import lzma

    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[ending]
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(pack(BASE[name].encode()))
    assert [line.text for line in read_lines(path)] == SENTENCES
    path.write_bytes(pack(BASE[name].encode())[:100])
    with pytest.raises(UserError, match=r"broken (gzip|bzip2|xz) data"):
        list(read_lines(path))
