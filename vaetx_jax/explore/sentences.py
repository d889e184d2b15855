"""The sentences of the explorer's map: a bounded sample of a split or of a file."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from vaetx_jax.data.corpora.rows import Row
from vaetx_jax.data.line_reader import read_lines
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference import exported
from vaetx_jax.run.run import Run

NO_LABEL = "no label"


class Label(NamedTuple):
    """A label field: its classes' names, and the class of each sentence (-1: it has none)."""

    names: tuple[str, ...]
    classes_N: np.ndarray

    def name_of(self, row: int) -> str:
        """The name of a sentence's class."""
        number = int(self.classes_N[row])
        return self.names[number] if number >= 0 else NO_LABEL


@dataclasses.dataclass(frozen=True)
class Sentences:
    """The sentences of the map.

    Attributes:
      texts: N sentences.
      labels: field -> its classes.
      origin: where they come from and how many of how many they are, in words; or why there are
        none.
    """

    texts: Sequence[str]
    labels: dict[str, Label]
    origin: str


def read_sentences(run: Run, *, split: str, file: str | None, limit: int) -> Sentences:
    """At most `limit` sentences, the same ones every time.

    A folder made by `export` has no corpus: without a file it has none.

    Raises:
      UserError: the corpus or the file cannot be read.
    """
    if limit < 1:
        raise ConfigError(f"--limit={limit}: must be at least 1")
    if file:
        return _of_file(file, limit)
    if exported.is_shared(run.folder):
        return Sentences(
            (),
            {},
            "This model was exported without its corpus. Start again with --sentences=FILE, one "
            "sentence a line, to see them here.",
        )
    try:
        return _of_split(run, split, limit)
    except UserError as error:
        raise UserError(f"{error} (or give --sentences=FILE instead of the corpus)") from error


def _of_split(run: Run, split: str, limit: int) -> Sentences:
    rows = run.corpus.split(split)
    chosen: Iterable[Row] = rows
    if len(rows) > limit:
        numbers = np.random.default_rng(0).choice(len(rows), limit, replace=False)
        chosen = (rows[int(number)] for number in np.sort(numbers))
    kept = list(chosen)
    labels = {
        field: Label(names, np.asarray([row.labels.get(field, -1) for row in kept], int))
        for field, names in run.corpus.label_fields.items()
    }
    origin = _origin(len(kept), len(rows), f"{run.config.data.corpus}'s {split} split")
    return Sentences([row.text for row in kept], labels, origin)


def _of_file(file: str, limit: int) -> Sentences:
    """Reservoir sampling (Vitter, 1985): memory does not grow with the file."""
    kept: list[tuple[int, str]] = []
    random, seen = np.random.default_rng(0), 0
    for line in read_lines(file):
        if not line.text.strip():
            continue
        seen += 1
        if len(kept) < limit:
            kept.append((seen, line.text))
        elif (index := int(random.integers(seen))) < limit:
            kept[index] = (seen, line.text)
    texts = [text for _, text in sorted(kept)]
    return Sentences(texts, {}, _origin(len(texts), seen, file))


def _origin(shown: int, total: int, source: str) -> str:
    if not total:
        return f"There is no sentence in {source}."
    if shown == total:
        return f"All {total:,} sentences of {source}."
    return f"{shown:,} of the {total:,} sentences of {source}, drawn at random."
