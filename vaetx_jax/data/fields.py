"""Which columns of a file hold the sentence and its labels.

A column is given by its name or by its number, counted from 1. Without a choice the columns are
those that the run was trained on, where a file has them; else the sentence is in the column `text`
and its label, if there is one, in the column `label`.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from vaetx_jax.errors import ConfigError, UserError

TEXT = "text"
LABEL = "label"  # the label field, unless a column is chosen
_OWN_FEATURES = ("text", "log_prob")  # a corpus calls something else so

# Names by which the first line of a table is known as its heading.
_TEXT_NAMES = {"text", "texts", "sentence", "sentences", "review", "comment", "content", "message"}
_TEXT_NAMES |= {"body", "tweet", "document", "description", "title", "headline", "question"}
_TEXT_NAMES |= {"utterance", "smiles", "sequence", "input"}
_LABEL_NAMES = {"label", "labels", "class", "category", "sentiment", "target", "topic", "intent"}
_LABEL_NAMES |= {"polarity", "rating", "score", "split", "gold_label", "output"}
# What these two settings are called where no config is given.
_OTHER_NAMES = (
    "(as arguments of fit data_text_column and data_label_column, as flags of a command without "
    "--config --text_column and --label_column)"
)


@dataclasses.dataclass(frozen=True)
class Fields:
    """A choice of columns.

    Attributes:
      text: the sentence's column, a name or a number; empty: `text`.
      labels: those of its labels; empty: `label`, if there is one.
      usual: the choice instead of none, in a file that has those columns.
    """

    text: str = ""
    labels: tuple[str, ...] = ()
    usual: "Fields | None" = None

    @classmethod
    def of(cls, text_column: str, label_column: str) -> "Fields":
        """The choice of two settings; commas part several labels.

        Raises:
          ConfigError: a column is given twice.
        """
        labels = tuple(name.strip() for name in label_column.split(",") if name.strip())
        chosen = (text_column.strip() or TEXT, *labels)
        twice = [name for name in chosen if chosen.count(name) > 1]
        if twice:
            raise ConfigError(
                f"data.text_column, data.label_column: the column {twice[0]!r} is given twice"
            )
        return cls(text_column.strip(), labels)

    def __bool__(self) -> bool:
        return bool(self.text or self.labels)

    @property
    def by_number(self) -> bool:
        """Whether all columns are given by number, as a file without a heading needs."""
        chosen = [name for name in (self.text, *self.labels) if name]
        return bool(chosen) and all(name.isdecimal() for name in chosen)

    def or_usual(self, usual: "Fields") -> "Fields":
        """This choice or, where it is none, the usual one in a file that has those columns."""
        return dataclasses.replace(self, usual=usual if usual and not self else None)

    def among(self, names: Sequence[str], *, named: bool = False) -> "Fields":
        """The choice for a file.

        Args:
          names: its heading, or the first row of a file that has none.
          named: whether all columns have names, so that none is known by its number.
        """
        usual = self.usual
        if usual is None:
            return self
        names = [name.strip() for name in names]
        if usual.by_number:
            last = max(int(number) for number in (usual.text or "1", *usual.labels))
            has = not named and len(names) >= last and _find(names, TEXT) is None
            return usual if has else ANY_FIELDS
        text = _find(names, usual.text or TEXT)
        if text is None:
            return ANY_FIELDS
        places = [place for label in usual.labels if (place := _find(names, label)) is not None]
        return Fields(names[text], tuple(names[place] for place in places))


ANY_FIELDS = Fields()


class Places(NamedTuple):
    """The positions of the sentences and the labels in a row.

    Attributes:
      texts: columns of the sentences, from 0.
      labels: (label field, column) of each label.
      width: how many columns a row may have.
    """

    texts: tuple[int, ...]
    labels: tuple[tuple[str, int], ...]
    width: int


def looks_like_heading(row: Sequence[str]) -> bool:
    """Whether a row is a heading: different single words, one of them such as text or label."""
    names = [cell.strip().casefold() for cell in row]
    short = all(0 < len(name) <= 30 and len(name.split()) == 1 for name in names)
    known = any(name in _TEXT_NAMES or name in _LABEL_NAMES for name in names)
    return len(names) > 1 and short and known and len(set(names)) == len(names)


def places_in_heading(
    name: str,
    heading: Sequence[str],
    fields: Fields,
    keys: tuple[str, ...] = (TEXT,),
    *,
    named: bool = False,
) -> Places:
    """Finds the columns in a heading.

    Args:
      name: the file, for messages.
      heading: the names of its columns.
      fields: the choice.
      keys: the names of the sentences' columns where none is chosen; several have no labels.
      named: whether the names are part of the file's format, and no line of it.

    Raises:
      UserError: there is no such column; the message names those that there are.
    """
    names = [column.strip() for column in heading]
    texts = (fields.text,) if fields.text and len(keys) == 1 else keys
    labels: Sequence[str] = fields.labels if len(keys) == 1 else ()
    if not labels and len(keys) == 1:
        labels = [LABEL] if _find(names, LABEL) is not None else []
    found = {}
    for key in (*texts, *labels):
        column = _find(names, key)
        if column is None:
            raise _no_column(name, names, key, named=named)
        found[key] = column
    if len(set(found.values())) < len(found):
        raise UserError(f"{name}: {', '.join(found)} are one column; give different ones.")
    fields_found = tuple(
        (field_name(LABEL if key == LABEL else names[found[key]]), found[key]) for key in labels
    )
    return Places(tuple(found[key] for key in texts), fields_found, len(names))


def places_by_number(name: str, row: Sequence[str], fields: Fields) -> Places:
    """Finds columns that are given by number.

    Args:
      row: the first row of the file.

    Raises:
      UserError: the row has not so many columns.
    """
    texts = (int(fields.text or "1") - 1,)
    many = len(fields.labels) > 1
    labels = tuple((f"{LABEL}{n}" if many else LABEL, int(n) - 1) for n in fields.labels)
    for column in (*texts, *(column for _, column in labels)):
        if not 0 <= column < len(row):
            raise UserError(
                f"{name}, line 1: there is no column {column + 1}; the line has {len(row)}. "
                "Columns are counted from 1."
            )
    return Places(texts, labels, len(row))


def columns_in_schema(
    name: str, names: Sequence[str], fields: Fields, keys: tuple[str, ...]
) -> dict[str, str]:
    """Finds the columns of a table whose columns all have names.

    Args:
      name: the file, for messages.
      names: its columns.
      fields, keys: as in `places_in_heading`.

    Returns:
      The name by which a column was asked for -> its own, of the sentences and then of the labels.

    Raises:
      UserError: there is no such column; the message names those that there are.
    """
    fields = fields.among(names, named=True)
    if fields.by_number:
        raise numbers_for_names(name)
    places = places_in_heading(name, names, fields, keys, named=True)
    texts = (fields.text,) if fields.text and len(keys) == 1 else keys
    labels = fields.labels or (LABEL,)
    columns = dict(zip(texts, (names[column] for column in places.texts), strict=True))
    return columns | dict(zip(labels, (names[n] for _, n in places.labels), strict=False))


def numbers_for_names(name: str) -> UserError:
    """The error of columns that are given by number in a file that names them."""
    return UserError(f"{name}: its columns have names; give names instead of numbers.")


def field_name(column: str) -> str:
    """The label field of a column."""
    return f"{column}_label" if column in _OWN_FEATURES else column


def unnamed_heading(name: str, heading: Sequence[str]) -> UserError:
    """The error of a header line whose columns have unknown names."""
    names = [column.strip() for column in heading]
    text = next((n for n in names if n.casefold() in _TEXT_NAMES), names[0])
    label = next((n for n in names if n != text and n.casefold() in _LABEL_NAMES), None)
    label = label or next(n for n in names if n != text)
    return UserError(
        f"{name}, line 1: this looks like a header line ({_listed(names)}), but it does not say "
        f"which column is which. Set {how_to_choose(text, label)}."
    )


def how_to_choose(text: str, label: str) -> str:
    """The settings that choose two columns."""
    return f"data.text_column={text} data.label_column={label} {_OTHER_NAMES}"


def _find(names: Sequence[str], key: str) -> int | None:
    """The column of that name, in any case if none is spelled so; or of that number."""
    if key in names:
        return names.index(key)
    folded = [name.casefold() for name in names]
    if folded.count(key.casefold()) == 1:
        return folded.index(key.casefold())
    if key.isdecimal() and 1 <= int(key) <= len(names):
        return int(key) - 1
    return None


def _no_column(name: str, names: Sequence[str], key: str, *, named: bool) -> UserError:
    problem = f"{name}: no column {key!r}; it has {_listed(names)}. Name"
    if not named:
        problem = (
            f"{name}, line 1: no column {key!r} in the header line ({_listed(names)}). The first "
            "line must name the columns, separated by commas; name"
        )
    return UserError(
        f"{problem} the columns to read with data.text_column and data.label_column {_OTHER_NAMES}."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))[:200] or "none at all"
