"""The rows of a CSV file, which may be several lines each."""

import csv
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vaetx_jax.data.decoded_lines import (
    MAX_BYTES,
    DecodedLine,
    LineError,
    cr_line_ends,
    too_long,
)
from vaetx_jax.errors import UserError

# Python's own limit, 131,072 characters, would also hold for columns that are not read.
csv.field_size_limit(max(MAX_BYTES, csv.field_size_limit()))


class CsvRow(NamedTuple):
    """A row.

    Attributes:
      first, last: the numbers of its first and last line.
      cells: its fields; line breaks in them are single spaces.
    """

    first: int
    last: int
    cells: list[str]


class CsvRows:
    """Reads the rows of a CSV, its heading like the others.

    Args:
      name: the file, for messages.
      lines: its lines.
      on_error: called with the error of a row that cannot be read; the row is left out unless this
        raises.
    """

    def __init__(
        self, name: str, lines: Iterator[DecodedLine], on_error: Callable[[LineError], None]
    ) -> None:
        self._name = name
        self._lines = lines
        self._on_error = on_error
        self._broken: LineError | None = None  # of the row that is being read
        self._number = 0

    def __iter__(self) -> Iterator[CsvRow]:
        """Yields the rows.

        Raises:
          UserError: the quotation marks are wrong, so that no row after them is sure.
        """
        first = 1
        rows = csv.reader(self._feed(), strict=True)
        try:
            for row in rows:
                broken, self._broken = self._broken, None
                if broken is None:
                    cells = [re.sub(r"\s*[\r\n]+\s*", " ", cell) for cell in row]
                    yield CsvRow(first, self._number, cells)
                else:
                    self._on_error(broken)
                first = self._number + 1
        except csv.Error as error:
            # What is not text is not CSV either.
            raise UserError(str(self._broken or self._bad(first, error))) from error

    def _feed(self) -> Iterator[str]:
        for number, text, broken in self._lines:
            self._number = number
            if broken is not None and not text:
                # Cut short: where the row ends is not known any more.
                raise UserError(str(broken))
            self._broken = self._broken or broken
            yield f"{text}\n"

    def _bad(self, first: int, error: csv.Error) -> UserError:
        if "new-line character" in str(error):
            return cr_line_ends(self._name, first)
        # An open quotation mark swallows lines up to the next one, or to the end of the file.
        where = f"{self._name}, line {first}"
        if first < self._number:
            return UserError(
                f"{where}: not valid CSV: a quotation mark opens in the row that begins here and "
                f"is not closed by line {self._number} ({error}). "
                'Quote a text with commas as "a, b" and a quotation mark inside as "".'
            )
        if "field larger than" in str(error):
            return too_long(self._name, first)
        return UserError(
            f"{where}: not valid CSV ({error}). Is a quotation mark open? "
            'Quote a text with commas as "a, b" and a quotation mark inside as "".'
        )
