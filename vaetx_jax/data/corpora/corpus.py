"""The corpora by name: opened cheaply, built once, then read at random.

    ptb, wikitext2, sst2, air   public; downloaded, or read from `manual_dir`
    text                        a user's own files
    grammar                     built in, with known causes and probabilities

A corpus is built by tensorflow-datasets (without TensorFlow) as ArrayRecord files below
`cache_dir/tfds`. Opening one does not import tensorflow-datasets.
"""

import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import logging

from vaetx_jax.data.corpora import air, ptb, sst2, wikitext2
from vaetx_jax.data.corpora.rows import Row, Rows, Shard
from vaetx_jax.data.corpora.source import SPLITS
from vaetx_jax.data.corpora.text_files import TextFiles
from vaetx_jax.data.grammar import grammar
from vaetx_jax.errors import ConfigError, UserError

if TYPE_CHECKING:
    from vaetx_jax.data.corpora.streaming import StreamingBuilder

__all__ = ["NAMES", "Corpus", "CorpusSpec", "Row", "Rows", "open_corpus"]

PUBLIC = {module.SOURCE.name: module.SOURCE for module in (ptb, wikitext2, sst2, air)}
NAMES = (*PUBLIC, "text", "grammar")
# Part of the fingerprint: raise it when the same source begins to give other rows.
_FORMAT = 1
_TEXT_VERSION = "1.0.0"


@dataclasses.dataclass(frozen=True)
class CorpusSpec:
    """Which corpus, and from where.

    Attributes:
        name: one of `NAMES`.
        cache_dir: folder for what is downloaded and built.
        manual_dir: folder of the public corpora's files (`ptb/train.txt` and so on); empty: they
            are downloaded.
        train, valid, test: files of `text`; empty `valid` or `test`: a share of `train`.
        valid_share, test_share: shares of `text` held out by a hash of the sentence.
        sentences, held_out, seed: training rows of `grammar`, rows of validation and of test
            each, and the seed they are drawn by.
    """

    name: str
    cache_dir: str | os.PathLike[str]
    manual_dir: str = ""
    train: str = ""
    valid: str = ""
    test: str = ""
    valid_share: float = 0.1
    test_share: float = 0.1
    sentences: int = 20_000
    held_out: int = 2_000
    seed: int = 0


def open_corpus(spec: CorpusSpec) -> "Corpus":
    """The corpus of `spec`, not built yet. Of `text` the files are read for the fingerprint.

    Raises:
        ConfigError: an unknown name or settings out of range.
        UserError: a file of `text` is missing or of an unknown kind.
    """
    return Corpus(spec)


class Corpus:
    """A corpus: three splits of rows, `train`, `valid` and `test`.

    Attributes:
        spec: what it was opened with.
        fingerprint: hex sha256 of what decides its rows.
        has_log_prob: whether rows carry exact log-probabilities.
    """

    def __init__(self, spec: CorpusSpec) -> None:
        self.spec = spec
        self._cache_dir = pathlib.Path(spec.cache_dir).expanduser().resolve()
        self._files = TextFiles(
            spec.train, spec.valid, spec.test, spec.valid_share, spec.test_share
        )
        config, version, settings = self._identity()
        parts = json.dumps([_FORMAT, spec.name, version, settings])
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()
        self.has_log_prob = spec.name == "grammar"
        # tensorflow-datasets' own layout: name/config/version
        self._config = config or (self.fingerprint[:16] if spec.name == "text" else "")
        self._folder = self._cache_dir / "tfds" / spec.name / self._config / version
        # What the builder noted: label_fields, rows, dropped, label_counts, shards.
        self._facts: dict[str, Any] | None = None

    @property
    def label_fields(self) -> dict[str, tuple[str, ...]]:
        """Label field -> class names; empty without labels. A labelled `text` is built first."""
        if self.spec.name == "grammar":
            return dict(grammar.CAUSES)
        if self.spec.name in PUBLIC:
            classes = PUBLIC[self.spec.name].classes
            return {"label": classes} if classes else {}
        return {name: tuple(names) for name, names in self._noted()["label_fields"].items()}

    def prepare(self) -> None:
        """Builds the data set unless it is there.

        Raises:
            UserError: a source is missing or damaged, the download fails, the cache folder cannot
                be written or its disk is full. Nothing half-built stays.
        """
        facts = self._stored()
        if facts is None:
            self._build()
            facts = self._stored()
            if facts is None:
                raise UserError(
                    f"{self._folder} changed while it was built. Delete it and start again."
                )
            logging.info("%s", _describe(self.spec.name, facts))
        self._facts = facts

    def split(self, name: str) -> Rows:
        """The rows of a split, read from disk as they are asked for; builds the corpus if needed.

        Raises:
            UserError: as `prepare`.
            ValueError: there is no such split.
        """
        if name not in SPLITS:
            raise ValueError(f"no split {name!r}: there are {', '.join(SPLITS)}")
        shards = [
            Shard(self._folder / file, rows) for file, _, rows in self._noted()["shards"][name]
        ]
        return Rows(shards, tuple(self.label_fields), self.has_log_prob)

    def data_source(self, name: str) -> Sequence[dict[str, Any]]:
        """A split as tensorflow-datasets gives it (`as_data_source`), for grain and the like.

        Slower than `split`; a text is bytes there, and a reader's memory grows with the split.
        """
        self.prepare()
        import tensorflow_datasets as tfds  # slow to import, seldom needed

        from vaetx_jax.data.corpora.streaming import quiet

        with quiet():
            return tfds.builder_from_directory(self._folder).as_data_source(name)

    def describe(self) -> str:
        """One line: rows a split, shares of the classes, and what was dropped."""
        return _describe(self.spec.name, self._noted())

    def _noted(self) -> dict[str, Any]:
        if self._facts is None:
            self.prepare()
        assert self._facts is not None
        return self._facts

    def _identity(self) -> tuple[str, str, Any]:
        """Name of the configuration, version, and every setting that decides the rows."""
        spec = self.spec
        if spec.name in PUBLIC:
            return "", PUBLIC[spec.name].version, None
        if spec.name == "text":
            self._files.check()
            return "", _TEXT_VERSION, self._files.digest()
        if spec.name != "grammar":
            raise ConfigError(f"data.corpus is {spec.name!r}: choose one of {', '.join(NAMES)}")
        for key in ("sentences", "held_out"):
            if getattr(spec, key) < 1:
                raise ConfigError(f"data.{key}={getattr(spec, key)}: it must be at least 1")
        if spec.seed < 0:
            raise ConfigError(f"the seed of the grammar is {spec.seed}: it must not be negative")
        config = f"sentences-{spec.sentences}-held-out-{spec.held_out}-seed-{spec.seed}"
        return config, grammar.GRAMMAR_VERSION, config

    def _stored(self) -> dict[str, Any] | None:
        """The builder's notes if the data set is there and whole."""
        try:
            facts = json.loads((self._folder / "metadata.json").read_text(encoding="utf-8"))
            for shards in facts["shards"].values():
                for file, size, _ in shards:
                    if (self._folder / file).stat().st_size != size:
                        return None
            return facts
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _build(self) -> None:
        logging.info("preparing corpus %s", self.spec.name)
        from vaetx_jax.data.corpora.streaming import quiet

        try:
            with quiet():
                if self._folder.exists():
                    logging.warning("%s is damaged: building it again", self._folder)
                    shutil.rmtree(self._folder)
                self._builder().download_and_prepare(download_dir=self._cache_dir / "downloads")
        except (OSError, RuntimeError) as error:
            if self._stored() is not None:  # another process was faster
                return
            raise self._cannot_build(error) from error

    def _builder(self) -> "StreamingBuilder":
        from vaetx_jax.data.corpora import builders

        spec, data_dir = self.spec, self._cache_dir / "tfds"
        if spec.name == "text":
            config = builders.TextConfig(name=self._config, files=self._files)
            return builders.Text(config=config, data_dir=data_dir)
        if spec.name == "grammar":
            rows = {"train": spec.sentences, "valid": spec.held_out, "test": spec.held_out}
            grammar_config = builders.GrammarConfig(name=self._config, rows=rows, seed=spec.seed)
            return builders.Grammar(config=grammar_config, data_dir=data_dir)
        public = {
            "ptb": builders.Ptb,
            "wikitext2": builders.Wikitext2,
            "sst2": builders.Sst2,
            "air": builders.Air,
        }
        return public[spec.name](spec.manual_dir, self._cache_dir, data_dir=data_dir)

    def _cannot_build(self, error: OSError | RuntimeError) -> Exception:
        # array_record reports a full disk as a RuntimeError, with the system's words.
        full = os.strerror(errno.ENOSPC)
        if full in str(error):
            return UserError(
                f"cannot build the corpus {self.spec.name} in {self._folder}: the disk is full "
                f"({full}). Make room, or set data.cache_dir to a folder on another disk."
            )
        if isinstance(error, OSError):
            return UserError(
                f"cannot build the corpus {self.spec.name} in {self._folder}: "
                f"{error.strerror or error}. Set data.cache_dir to a folder you may write to."
            )
        return error


def _describe(name: str, facts: dict[str, Any]) -> str:
    rows = ", ".join(f"{facts['rows'][split]:,} {split}" for split in SPLITS)
    parts = [f"{name}: {rows} rows"]
    counts = facts["label_counts"]["train"].get("label")
    if counts and len(counts) <= 10:
        names = facts["label_fields"]["label"]
        shares = (
            f"{label} {count / sum(counts):.1%}" for label, count in zip(names, counts, strict=True)
        )
        parts.append("train " + ", ".join(shares))
    if facts["dropped"]:
        dropped = (f"{count:,} {what}" for what, count in facts["dropped"].items())
        parts.append("dropped " + ", ".join(dropped))
    return "; ".join(parts)
