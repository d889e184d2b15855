"""Sentences and labels of a caller, as lists or as a table, and the files that hold them."""

import contextlib
import csv
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.corpora.text_files import MAX_CLASSES
from vaetx_jax.data.dataset_rows import class_name
from vaetx_jax.data.decoded_lines import MAX_CHARACTERS, Source
from vaetx_jax.data.fields import LABEL, TEXT, Fields, field_name
from vaetx_jax.data.line_reader import read_lines
from vaetx_jax.errors import UserError
from vaetx_jax.inference.arguments import check_sentences, is_missing, table_columns
from vaetx_jax.runtime.console import counted
from vaetx_jax.runtime.paths import scheme_of

HELD_OUT = 10  # one in this many different sentences validates, another tests


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Sentences with their labels.

    Attributes:
      texts: N sentences.
      labels: label field -> the label of each, empty where it has none.
    """

    texts: Sequence[str]
    labels: dict[str, list[str]]

    def write(self, folder: pathlib.Path) -> None:
        """Writes a CSV file per split; a sentence's split depends on its hash alone."""
        texts = [" ".join(text.split("\n")).strip() for text in self.texts]
        different = sorted({text for text in texts if text}, key=_hash)
        held = max(1, len(different) // HELD_OUT)
        split_of = dict.fromkeys(different, "train")
        split_of |= dict.fromkeys(different[:held], "valid")
        split_of |= dict.fromkeys(different[held : 2 * held], "test")
        with contextlib.ExitStack() as stack:
            writers = {}
            for split in SPLITS:
                path = folder / f"{split}.csv"
                file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
                writers[split] = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
                writers[split].writerow([TEXT, *self.labels])
            for number, text in enumerate(texts):
                if text:
                    row = [text, *(labels[number] for labels in self.labels.values())]
                    writers[split_of[text]].writerow(row)


def columns_of(given: Any, labels: Any, fields: Fields) -> Corpus:
    """The sentences and labels of a caller.

    Args:
      given: sentences, a table with named columns, or a file or data set that holds them.
      labels: one for each sentence; None: those of the table, if it has some.
      fields: the columns of a table.

    Raises:
      UserError: they cannot be used; says which.
    """
    if isinstance(given, os.PathLike) or (isinstance(given, str) and scheme_of(given) == "hf"):
        return _read(given, labels, fields)
    if isinstance(given, str) and os.path.isfile(given):
        raise UserError(f"{given!r} is one text; a file is given as pathlib.Path({given!r})")
    columns = table_columns(given)
    found: dict[str, Any] = {}
    if columns is None and fields:
        raise UserError(
            "data_text_column and data_label_column name columns, and what is given is no table"
        )
    if columns is not None:
        text, wanted = _table_fields([str(name) for name in columns], fields)
        by_name = dict(zip(map(str, columns), columns, strict=True))
        if labels is not None and wanted:
            raise UserError("labels are given twice: as labels and as a column of the table")
        found = {field_name(name): _named(given, by_name[name]) for name in wanted}
        given = given[by_name[text]]
    elif labels is not None:
        found = {LABEL: labels}
    if columns is not None and labels is not None:
        found = {LABEL: labels}
    sentences = _checked(given)
    return Corpus(sentences, {field: _labels(v, len(sentences)) for field, v in found.items()})


def _read(source: Source, labels: Any, fields: Fields) -> Corpus:
    """The sentences of a file or a data set; blank ones are left out."""
    if labels is not None:
        raise UserError(f"labels beside {source}: they must be in it")
    lines = [line for line in read_lines(source, fields=fields) if line.text.strip()]
    names = dict.fromkeys(field for line in lines for field in line.labels)
    columns = {name: [line.labels.get(name, "") for line in lines] for name in names}
    sentences = _checked([line.text for line in lines])
    return Corpus(sentences, {name: _labels(v, len(lines)) for name, v in columns.items()})


def _named(table: Any, column: Any) -> Any:
    """A column; the numbers of classes of a `datasets.Dataset` as their names."""
    features = getattr(table, "features", None)
    names = getattr(features[column], "names", None) if isinstance(features, Mapping) else None
    values = table[column]
    return [class_name(value, names) for value in values] if names else values


def _table_fields(names: list[str], fields: Fields) -> tuple[str, tuple[str, ...]]:
    text = fields.text or TEXT
    wanted = fields.labels or ((LABEL,) if LABEL in names else ())
    for name in (text, *wanted):
        if name not in names:
            raise UserError(
                f"the table has no column {name!r}; it has {', '.join(map(repr, names))[:200]}. "
                "Name them: data_text_column=..., data_label_column=..."
            )
    return text, wanted


def _checked(sentences: Any) -> Sequence[str]:
    sentences = check_sentences(sentences)
    for number, text in enumerate(sentences):
        if "\0" in text or len(text) > MAX_CHARACTERS:
            what = "a NUL character" if "\0" in text else f"more than {MAX_CHARACTERS:,} characters"
            raise UserError(
                f"sentence {number} (counted from 0) has {what}; leave it out or cut it"
            )
    different = {text.strip() for text in sentences} - {""}
    if len(different) < 3:
        count = len(different)
        raise UserError(
            f"{counted(count, 'different sentence')}: at least 3 are needed, to "
            "train on, to validate and to test, and some thousands for a useful model"
        )
    return sentences


def _labels(labels: Any, count: int) -> list[str]:
    if isinstance(labels, str | bytes) or table_columns(labels) is not None:
        raise UserError(f"labels must be a list with one for each sentence, not {labels!r:.60}")
    try:
        names = [_label(label) for label in labels]
    except TypeError:
        raise UserError(f"labels must be a list, not {labels!r:.60}") from None
    if len(names) != count:
        raise UserError(f"{len(names):,} labels for {count:,} sentences; give one each")
    classes = set(names) - {""}
    if not classes:
        raise UserError("all labels are missing or blank; give some, or none at all")
    if len(classes) > MAX_CLASSES:
        raise UserError(
            f"more than {MAX_CLASSES:,} different labels, {names[0]!r:.60} among them. Are labels "
            "and sentences the right way round?"
        )
    return names


def _label(label: Any) -> str:
    if isinstance(label, Collection) and not isinstance(label, str):
        raise UserError(
            f"the label {label!r:.60} is a {type(label).__name__}; each must be one text or number"
        )
    return "" if is_missing(label) else str(label).strip()


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
