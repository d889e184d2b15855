"""The corpora by name.

    ptb, wikitext2, sst2, air   public; downloaded, or read from `manual_dir`
    text                        a user's own files
    grammar                     built in, with known causes and probabilities

A public corpus is added by a module here that describes it (`SOURCE`), the module's name in
`PUBLIC` and a config file: labels and builder follow from the source.
"""

import dataclasses
import importlib
import os
import pathlib
from typing import TYPE_CHECKING

from vaetx_jax.data.corpora.base import Corpus
from vaetx_jax.data.corpora.source import Source
from vaetx_jax.data.corpora.text_files import TextFiles
from vaetx_jax.data.fields import ANY_FIELDS, Fields
from vaetx_jax.data.grammar import grammar

if TYPE_CHECKING:
    from vaetx_jax.data.corpora.streaming import StreamingBuilder

PUBLIC = ("ptb", "wikitext2", "sst2", "air")

CORPORA = (*PUBLIC, "text", "grammar")
SOURCES: dict[str, Source] = {
    name: importlib.import_module(f"vaetx_jax.data.corpora.{name}").SOURCE for name in PUBLIC
}
UNLABELLED = tuple(name for name, source in SOURCES.items() if not source.classes)
_TEXT_VERSION = "1.0.0"


@dataclasses.dataclass(frozen=True)
class CorpusSpec:
    """The choice of a corpus and its settings.

    Attributes:
        name: one of `CORPORA`.
        cache_dir: folder of downloads and built data sets.
        manual_dir: folder of the public corpora's files (`ptb/train.txt` and so on); empty: they
            are downloaded.
        train, valid, test: files of `text`; empty `valid` or `test`: a share of `train`.
        valid_share, test_share: shares of `text` held out by a hash of the sentence.
        fields: the columns of those files that hold the sentence and its labels.
        on_error: whether a broken line of them is an error (`fatal`) or left out (`skip`).
        sentences, held_out, seed: training rows of `grammar`, rows of validation and of test
            each, and the seed of all draws.
    """

    name: str
    cache_dir: str | os.PathLike[str]
    manual_dir: str = ""
    train: str = ""
    valid: str = ""
    test: str = ""
    valid_share: float = 0.1
    test_share: float = 0.1
    fields: Fields = ANY_FIELDS
    on_error: str = "fatal"
    sentences: int = 20_000
    held_out: int = 2_000
    seed: int = 0


def open_corpus(spec: CorpusSpec) -> Corpus:
    """Opens a corpus without building it. Of `text` the files are read for the fingerprint.

    Raises:
        UserError: a file of `text` is missing or of an unknown kind.
    """
    cache_dir = pathlib.Path(spec.cache_dir).expanduser().resolve()
    if spec.name == "text":
        files = TextFiles(
            spec.train,
            spec.valid,
            spec.test,
            spec.valid_share,
            spec.test_share,
            spec.fields,
            spec.on_error,
        )
        return TextCorpus(files, cache_dir)
    if spec.name == "grammar":
        rows = {"train": spec.sentences, "valid": spec.held_out, "test": spec.held_out}
        return GrammarCorpus(rows, spec.seed, cache_dir)
    return PublicCorpus(SOURCES[spec.name], spec.manual_dir, cache_dir)


class PublicCorpus(Corpus):
    """A published corpus.

    Args:
        source: describes it.
        manual_dir: the folder of its files; empty: they are downloaded.
        cache_dir: folder of downloads and built data sets.
    """

    def __init__(self, source: Source, manual_dir: str, cache_dir: pathlib.Path) -> None:
        super().__init__(source.name, cache_dir, version=source.version)
        self._source = source
        self._manual_dir = manual_dir

    @property
    def label_fields(self) -> dict[str, tuple[str, ...]]:
        classes = self._source.classes
        return {"label": classes} if classes else {}

    def _builder(self, data_dir: pathlib.Path) -> "StreamingBuilder":
        from vaetx_jax.data.corpora.builders import public_builder

        return public_builder(self._source, self._manual_dir, self._cache_dir, data_dir=data_dir)


class TextCorpus(Corpus):
    """A user's own files; building it reads their labels.

    Args:
        files: the files and shares of the splits.
        cache_dir: folder of built data sets.

    Raises:
        UserError: a file is missing or of an unknown kind.
    """

    def __init__(self, files: TextFiles, cache_dir: pathlib.Path) -> None:
        files.check()
        super().__init__(
            "text", cache_dir, version=_TEXT_VERSION, settings=files.digest(), config=None
        )
        self._files = files

    @property
    def is_one_file(self) -> bool:
        """Whether all splits are shares of one file."""
        return len(self._files.sources) == 1

    def line_numbers(self, split: str) -> list[int]:
        """The number of each sentence's line in its file, in the split's order."""
        return [line.number for line in self._files.lines(split)]

    def _builder(self, data_dir: pathlib.Path) -> "StreamingBuilder":
        from vaetx_jax.data.corpora.builders import Text, TextConfig

        config = TextConfig(name=self._config, files=self._files)
        return Text(config=config, data_dir=data_dir)


class GrammarCorpus(Corpus):
    """Sentences of the built-in grammar.

    Args:
        rows: split -> number of rows; validation and test have the same.
        seed: of all draws.
        cache_dir: folder of built data sets.
    """

    has_log_prob = True

    def __init__(self, rows: dict[str, int], seed: int, cache_dir: pathlib.Path) -> None:
        config = f"sentences-{rows['train']}-held-out-{rows['valid']}-seed-{seed}"
        version = grammar.GRAMMAR_VERSION
        super().__init__("grammar", cache_dir, version=version, settings=config, config=config)
        self._rows = rows
        self._seed = seed

    @property
    def label_fields(self) -> dict[str, tuple[str, ...]]:
        return dict(grammar.CAUSES)

    def _builder(self, data_dir: pathlib.Path) -> "StreamingBuilder":
        from vaetx_jax.data.corpora.builders import Grammar, GrammarConfig

        config = GrammarConfig(name=self._config, rows=self._rows, seed=self._seed)
        return Grammar(config=config, data_dir=data_dir)
