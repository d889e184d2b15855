"""The rows of a split on disk: a sequence of which only an index is in memory."""

import bisect
import dataclasses
import itertools
import operator
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from vaetx_jax.errors import UserError

if TYPE_CHECKING:
    from vaetx_jax.data.corpora.records import Record

_CHUNK = 1_024  # rows read together


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One sentence.

    Attributes:
        text: the sentence.
        labels: label field -> class number, in the corpus's order of fields; -1: none.
        log_prob: exact log p(text) in nats where the corpus knows it.
    """

    text: str
    labels: dict[str, int]
    log_prob: float | None


class Shard(NamedTuple):
    """An ArrayRecord file and its number of rows."""

    path: pathlib.Path
    rows: int


class Rows(Sequence[Row]):
    """N rows in their order on disk. Reading in order is fastest.

    tensorflow-datasets' data source reads the same files, but by lists of indices, for which
    array_record keeps a copy of the index for each of its threads: 700 MB at a million rows.
    Ranges take 35 MB.
    """

    def __init__(
        self, shards: Sequence[Shard], fields: tuple[str, ...], has_log_prob: bool
    ) -> None:
        self._shards = tuple(shards)
        self._ends = list(itertools.accumulate(shard.rows for shard in shards))
        self._fields = fields
        self._has_log_prob = has_log_prob
        self._open: tuple[int, Any] | None = None  # the shard read last and its reader

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return list(self._between(start, stop))
            return [self[i] for i in range(start, stop, step)]
        row = operator.index(index)
        if row < 0:
            row += len(self)
        if not 0 <= row < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return next(self._between(row, row + 1))

    def __iter__(self) -> Iterator[Row]:
        return self._between(0, len(self))

    def texts(self) -> "Texts":
        """The sentences alone, in order; an iterable with a length."""
        return Texts(self)

    def _between(self, start: int, stop: int) -> Iterator[Row]:
        fields = self._fields
        for text, labels, log_prob in self._records(start, stop):
            yield Row(text, dict(zip(fields, labels, strict=True)), log_prob)

    def _records(self, start: int, stop: int) -> Iterator["Record"]:
        decode = self._decoder()
        while start < stop:
            shard = bisect.bisect_right(self._ends, start)
            first = self._ends[shard] - self._shards[shard].rows
            until = min(stop, start + _CHUNK, self._ends[shard])
            for record in self._read(shard, start - first, until - first):
                yield decode(record)
            start = until

    def _read(self, shard: int, start: int, stop: int) -> list[bytes]:
        path = self._shards[shard].path
        try:
            # Local, because another thread may put another shard's reader in the attribute.
            opened = self._open
            if opened is None or opened[0] != shard:
                opened = (shard, _reader(path))
                self._open = opened
            records = opened[1].read(start, stop)
        except (OSError, RuntimeError, IndexError, ValueError) as error:
            raise UserError(
                f"cannot read rows {start} to {stop} of {path}: {error}. The file is damaged: "
                f"delete the folder {path.parent} and it is built again."
            ) from error
        return records

    def _decoder(self) -> Callable[[bytes], "Record"]:
        from vaetx_jax.data.corpora.records import decoder  # imports tensorflow-datasets

        return decoder(self._fields, self._has_log_prob)


class Texts:
    """The texts of some rows, read again at each iteration."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return (row.text for row in self._rows)


def _reader(path: pathlib.Path) -> Any:
    from array_record.python.array_record_module import ArrayRecordReader

    return ArrayRecordReader(str(path), options="readahead_buffer_size:0")
