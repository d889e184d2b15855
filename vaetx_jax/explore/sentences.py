"""The sentences of the explorer's map: a bounded sample of a split or of a file."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from vaetx_jax.data.corpora.rows import Row
from vaetx_jax.data.fields import ANY_FIELDS, Fields
from vaetx_jax.data.line_reader import Line, read_lines
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference import exported
from vaetx_jax.run.run import Run

NO_LABEL = "no label"
MAX_CLASSES = 100  # of a file's labels; a column of more is none to colour by


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


def read_sentences(
    run: Run, *, split: str, file: str | None, limit: int, fields: Fields = ANY_FIELDS
) -> Sentences:
    """At most `limit` sentences, the same ones every time.

    A folder made by `export` has no corpus: without a file it has none.

    Raises:
      UserError: the corpus or the file cannot be read.
    """
    if limit < 1:
        raise ConfigError(f"--limit={limit}: must be at least 1")
    if file:
        return _of_file(file, limit, fields)
    if exported.is_shared(run.folder):
        return Sentences(
            (),
            {},
            "This model was exported without its corpus. Start again with --sentences=FILE, one "
            "sentence per line, to see a map here.",
        )
    try:
        return _of_split(run, split, limit)
    except UserError as error:
        why = str(error).removesuffix(".")
        raise UserError(f"{why} (or give --sentences=FILE instead of the corpus)") from error


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


def _of_file(file: str, limit: int, fields: Fields) -> Sentences:
    """Reservoir sampling (Vitter, 1985): memory does not grow with the file."""
    kept: list[tuple[int, Line]] = []
    random, seen = np.random.default_rng(0), 0
    for line in read_lines(file, fields=fields):
        if not line.text.strip():
            continue
        seen += 1
        if len(kept) < limit:
            kept.append((seen, line))
        elif (index := int(random.integers(seen))) < limit:
            kept[index] = (seen, line)
    lines = [line for _, line in sorted(kept, key=lambda numbered: numbered[0])]
    texts = [line.text for line in lines]
    return Sentences(texts, _labels(lines), _origin(len(texts), seen, file))


def _labels(lines: Sequence[Line]) -> dict[str, Label]:
    """The label fields of the lines; one with more classes than colours can tell is left out."""
    found = {}
    for field in dict.fromkeys(field for line in lines for field in line.labels):
        names = tuple(sorted({line.labels[field] for line in lines if field in line.labels}))
        number = {name: n for n, name in enumerate(names)}
        classes_N = [number.get(line.labels.get(field, ""), -1) for line in lines]
        if len(names) <= MAX_CLASSES:
            found[field] = Label(names, np.asarray(classes_N, int))
    return found


def _origin(shown: int, total: int, source: str) -> str:
    if not total:
        return f"There is no sentence in {source}."
    if total == 1:
        return f"The only sentence of {source}."
    if shown == total:
        return f"All {total:,} sentences of {source}."
    return f"{shown:,} of the {total:,} sentences of {source}, drawn at random."
