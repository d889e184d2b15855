"""The rules of the arguments of all public methods: sentences, latents, numbers, names.

Each method, `fit` among them, takes the same things: any sequence of texts (a list, a tuple, a
numpy array of strings, a column of a table), numbers of Python or of numpy. What has no order or
would be read as something else (a text as its letters, a table as its columns' names) is refused.
"""

import math
import numbers
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeVar

import numpy as np

from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.settings import MAX_SEED

T = TypeVar("T")

_ONE_ARRAY = "they are given as one array, the means, encode(...)[0]"


def check_sentences(sentences: Any) -> Sequence[str]:
    """The sentences as a sequence of texts.

    Raises:
      UserError: they are something else, or an entry is no text; says which.
    """
    check_iterable(sentences)
    if isinstance(sentences, np.ndarray):
        if sentences.ndim != 1:
            raise UserError(
                f"sentences: an array of the shape {list(sentences.shape)}; a list or an array of "
                "one dimension is needed"
            )
        sentences = sentences.tolist()
    elif not isinstance(sentences, Sequence):
        sentences = list(sentences)
    for number, text in enumerate(sentences):
        if not isinstance(text, str):
            hint = f". If vectors are meant: {_ONE_ARRAY}" if is_numeric(text) else ""
            raise UserError(
                f"sentence {number} (counted from 0) is {text!r:.60}, a {type(text).__name__}; "
                f"each must be a str{hint}"
            )
        if not text.isascii():
            _check_encodable(number, text)
    return sentences


def check_iterable(sentences: Any) -> None:
    """Refuses what is no list of sentences, before one of them is read.

    Raises:
      UserError: it is one text, a table, a set, or cannot be iterated at all.
    """
    wanted = "a list of sentences is needed"
    if isinstance(sentences, str | bytes):
        raise UserError(f"{wanted}, not one text ({sentences!r:.60}); give [text]")
    columns = table_columns(sentences)
    if columns is not None:
        shown = ", ".join(map(repr, columns))[:100]
        raise UserError(f"{wanted}, not a table; give one of its columns, table[NAME] ({shown})")
    if isinstance(sentences, Set):
        raise UserError(f"{wanted}, and a set has no order; give sorted(sentences)")
    if not isinstance(sentences, Iterable):
        raise UserError(f"{wanted}, not {sentences!r:.60}, a {type(sentences).__name__}")


def table_columns(value: Any) -> list[Any] | None:
    """The names of the columns of a mapping or a table of any library; None for anything else."""
    if isinstance(value, Mapping):
        return list(value)
    for name in ("column_names", "columns"):  # a Dataset or an Arrow table; a DataFrame
        columns = getattr(value, name, None)
        if columns is not None and hasattr(value, "__getitem__"):
            return list(columns)
    return None


def check_finite(name: str, value: Any) -> float:
    """A finite number.

    Raises:
      ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ConfigError(f"{name} = {value!r:.60}: must be a finite number")
    return float(value)


def check_groups(groups: Any, size: int) -> Iterator[tuple[str, ...]]:
    """Yields groups of `size` sentences.

    Raises:
      UserError: at once if it is no list; on the way if a group is a text or of another size.
    """
    check_iterable(groups)

    def checked() -> Iterator[tuple[str, ...]]:
        for number, group in enumerate(groups):
            if isinstance(group, str | bytes) or not isinstance(group, Iterable):
                raise UserError(
                    f"group {number} (counted from 0) is {group!r:.60}; it must hold {size} "
                    "sentences"
                )
            texts = tuple(group)
            if len(texts) != size:
                raise UserError(
                    f"group {number} (counted from 0) has {len(texts)} sentences; it must hold "
                    f"{size}"
                )
            yield texts

    return checked()


def check_latents(z: Any, width: int, what: str = "latents") -> np.ndarray:
    """The latents, or other vectors, as float32 [N, width]; an empty list is none.

    Raises:
      UserError: they have another shape, or one is not finite.
    """
    try:
        z_NxZ = np.asarray(z, np.float32)
    except (TypeError, ValueError):
        raise UserError(f"{what} must be numbers [N, {width}]") from None
    if z_NxZ.shape == (0,):
        z_NxZ = z_NxZ.reshape(0, width)
    if z_NxZ.ndim != 2 or z_NxZ.shape[1] != width:
        shape = list(z_NxZ.shape)
        hint = f"; {_ONE_ARRAY}" if isinstance(z, tuple) else ""
        raise UserError(f"{what} of the shape {shape}: they must be [N, {width}]{hint}")
    bad = np.flatnonzero(~np.isfinite(z_NxZ).all(axis=1))
    if len(bad):
        raise UserError(
            f"{what}: row {bad[0]} (counted from 0) holds a NaN or an infinity, and "
            f"{len(bad) - 1:,} more do; each must be finite"
        )
    return z_NxZ


def is_numeric(value: Any) -> bool:
    """Whether a value is an array of numbers, of whatever library, rather than sentences."""
    return getattr(getattr(value, "dtype", None), "kind", "") in ("f", "i", "u", "V")


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number of Python or of numpy, within its bounds.

    Raises:
      ConfigError: it is something else, or out of bounds.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ConfigError(f"{name} = {value!r:.60}: must be a whole number") from None
    if number < least:
        raise ConfigError(f"{name} = {number}: must be at least {least}")
    if most is not None and number > most:
        raise ConfigError(f"{name} = {number}: must be at most {most}")
    return number


def check_seed(seed: Any) -> int:
    """A seed, from 0 to `MAX_SEED`."""
    return check_integer("seed", seed, 0, MAX_SEED)


def check_number(name: str, value: Any) -> float:
    """A number of Python or of numpy, NaN and infinity among them.

    Raises:
      ConfigError: it is something else.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} = {value!r:.60}: must be a number")
    return float(value)


def check_name(name: str, value: Any, names: Iterable[str]) -> str:
    """One of some names.

    Raises:
      ConfigError: it is none of them.
    """
    names = tuple(names)
    if not isinstance(value, str) or value not in names:
        raise ConfigError(f"{name} = {value!r:.60}: must be one of {', '.join(names)}")
    return value


def is_missing(value: Any) -> bool:
    """Whether a label of a table is none: None, NaN, NaT, NA or blank."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, float | np.floating) and math.isnan(value)


def _check_encodable(number: int, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"sentence {number} (counted from 0), character {error.start}: half of a surrogate "
            "pair, which no text has; read its file as UTF-8 or drop it"
        ) from None
