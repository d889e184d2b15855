"""WikiText-2, one paragraph a row."""

import collections
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from vaetx_jax.data.corpora.source import Example, Source, SourceFile
from vaetx_jax.data.corpora.splits import SPLITS

_URL = (
    "https://raw.githubusercontent.com/pytorch/examples/"
    "77f55b912142e11fcfdf5b530231fb9c52f181e8/word_language_model/data/wikitext-2/{}.txt"
)


def _paragraphs(path: pathlib.Path, dropped: collections.Counter[str]) -> Iterator[Example]:
    with path.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            text = line.strip()
            if not text:
                dropped["blank lines"] += 1
            elif text.startswith("= ") and text.endswith(" ="):
                dropped["headings"] += 1
            else:
                yield {"text": text}


def _read(
    paths: Mapping[str, pathlib.Path], dropped: collections.Counter[str]
) -> dict[str, Iterable[Example]]:
    return {split: _paragraphs(paths[f"wikitext2/{split}.txt"], dropped) for split in SPLITS}


SOURCE = Source(
    name="wikitext2",
    version="1.0.0",
    release_notes={"1.0.0": "First version."},
    description=(
        "WikiText-2 at word level: good and featured articles of the English Wikipedia. One "
        "paragraph a row; headings (` = Title = `) and blank lines are dropped. Cased, with the "
        "marks <unk>, @-@, @,@ and @.@ as published; the zero-width U+FEFF characters in the "
        "training text are kept."
    ),
    licence="Creative Commons Attribution-ShareAlike 3.0 (CC BY-SA 3.0) and GFDL",
    citation="""@inproceedings{merity2017pointer,
  title = {Pointer Sentinel Mixture Models},
  author = {Merity, Stephen and Xiong, Caiming and Bradbury, James and Socher, Richard},
  booktitle = {International Conference on Learning Representations},
  year = {2017},
  url = {https://arxiv.org/abs/1609.07843}
}""",
    homepage="https://arxiv.org/abs/1609.07843",
    files=(
        SourceFile(
            path="wikitext2/train.txt",
            lines=36_718,
            sha256="9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
            url=_URL.format("train"),
        ),
        SourceFile(
            path="wikitext2/valid.txt",
            lines=3_760,
            sha256="f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
            url=_URL.format("valid"),
        ),
        SourceFile(
            path="wikitext2/test.txt",
            lines=4_358,
            sha256="d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
            url=_URL.format("test"),
        ),
    ),
    rows={"train": 17_556, "valid": 1_841, "test": 2_185},
    read=_read,
)
