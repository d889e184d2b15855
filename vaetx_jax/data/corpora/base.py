"""The base of all corpora: built once by tensorflow-datasets, then read at random.

The ArrayRecord files lie below `cache_dir/tfds`. Opening a corpus does not import
tensorflow-datasets (nor TensorFlow, which is never needed).
"""

import abc
import errno
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import filelock
from absl import logging

from vaetx_jax.data.corpora.rows import Rows, Shard
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.errors import UserError
from vaetx_jax.runtime.atomic import remove

if TYPE_CHECKING:
    from vaetx_jax.data.corpora.streaming import StreamingBuilder

# Part of the fingerprint: raise it when the same source begins to give other rows.
_FORMAT = 1


class Corpus(abc.ABC):
    """A corpus: three splits of rows, `train`, `valid` and `test`.

    Subclasses implement `_builder` and pass on every setting that determines the rows.

    Args:
        name: the corpus's name.
        cache_dir: folder of downloads and built data sets.
        version: of the builder.
        settings: all else that determines the rows; anything that JSON has.
        config: name of the builder's configuration, "" without; None: of the fingerprint.

    Attributes:
        name: the corpus's name.
        fingerprint: hex sha256 of all that determines its rows.
        has_log_prob: whether rows carry exact log-probabilities.
    """

    has_log_prob = False

    def __init__(
        self,
        name: str,
        cache_dir: pathlib.Path,
        *,
        version: str,
        settings: Any = None,
        config: str | None = "",
    ) -> None:
        self.name = name
        parts = json.dumps([_FORMAT, name, version, settings])
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()
        self._cache_dir = cache_dir
        self._config = self.fingerprint[:16] if config is None else config
        # tensorflow-datasets' own layout: name/config/version
        self._folder = cache_dir / "tfds" / name / self._config / version
        # The builder's notes: label_fields, rows, dropped, label_counts, shards.
        self._facts: dict[str, Any] | None = None

    @abc.abstractmethod
    def _builder(self, data_dir: pathlib.Path) -> "StreamingBuilder":
        """The builder that writes the data set below `data_dir`."""

    @property
    def label_fields(self) -> dict[str, tuple[str, ...]]:
        """Label field -> class names; empty without labels. May build the corpus to know them."""
        return {name: tuple(names) for name, names in self._noted()["label_fields"].items()}

    def prepare(self) -> None:
        """Builds the data set unless it exists.

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
            logging.info("%s", _describe(self.name, facts))
        self._facts = facts

    def split(self, name: str) -> Rows:
        """Opens a split, whose rows are read from disk one by one; builds the corpus if needed.

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
        """Describes it in one line: rows per split, shares of the classes, rows left out."""
        return _describe(self.name, self._noted())

    def _noted(self) -> dict[str, Any]:
        if self._facts is None:
            self.prepare()
        assert self._facts is not None
        return self._facts

    def _stored(self) -> dict[str, Any] | None:
        """The builder's notes if the data set exists and is complete."""
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
        logging.info("preparing corpus %s", self.name)
        from vaetx_jax.data.corpora.streaming import quiet  # takes seconds: others may be faster

        try:
            with quiet():
                if self._folder.exists():
                    self._remove_damaged()
                builder = self._builder(self._cache_dir / "tfds")
                builder.download_and_prepare(download_dir=self._cache_dir / "downloads")
        except (OSError, RuntimeError) as error:
            if self._stored() is not None:  # another process was faster
                return
            raise self._cannot_build(error) from error

    def _remove_damaged(self) -> None:
        """Deletes what is in the data set's place, unless another process has built it whole."""
        lock = self._folder.with_name(f".{self._folder.name}.lock")
        with filelock.FileLock(lock):  # or one could delete what the other has built instead
            if self._folder.exists() and self._stored() is None:
                logging.warning("%s is damaged: building it again", self._folder)
                remove(self._folder)

    def _cannot_build(self, error: OSError | RuntimeError) -> Exception:
        # array_record reports a full disk as a RuntimeError, with the system's words.
        full = os.strerror(errno.ENOSPC)
        if full in str(error):
            return UserError(
                f"cannot build the corpus {self.name} in {self._folder}: the disk is full "
                f"({full}). Make room, or set data.cache_dir to a folder on another disk."
            )
        if isinstance(error, OSError):
            return UserError(
                f"cannot build the corpus {self.name} in {self._folder}: "
                f"{error.strerror or error}. Set data.cache_dir to a folder you may write to."
            )
        return error


def _describe(name: str, facts: dict[str, Any]) -> str:
    rows = ", ".join(f"{facts['rows'][split]:,} {split}" for split in SPLITS)
    parts = [f"{name}: {rows} rows"]
    for field, names in facts["label_fields"].items():
        counts, of = facts["label_counts"]["train"][field], "" if field == "label" else f" {field}"
        if len(counts) <= 10 and sum(counts) and name != "grammar":
            shares = (
                f"{label} {count / sum(counts):.1%}"
                for label, count in zip(names, counts, strict=True)
            )
            parts.append(f"train{of} " + ", ".join(shares))
        missing = sum(facts["rows"].values())
        missing -= sum(sum(counts[field]) for counts in facts["label_counts"].values())
        if missing:
            whose = f" ({field})" if of else ""
            parts.append(f"{missing:,} rows without a label{whose}")
    if facts["dropped"]:
        dropped = (f"{count:,} {what}" for what, count in facts["dropped"].items())
        parts.append("dropped " + ", ".join(dropped))
    return "; ".join(parts)
