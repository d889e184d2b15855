"""Length bucketing: sentences of like length share a static shape, so that little is padded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from vaetx_jax.data.tokenized import FrameIds, TokenizedSplit
from vaetx_jax.errors import UserError

SHORTEST = 3  # the shortest shape; a row without tokens has 2 ids
READ_STEP = 8  # rows in the encoder's own tokens have lengths that are multiples of this
_CHUNK = 1 << 16  # rows looked at together while the buckets are made


@dataclasses.dataclass(frozen=True)
class ProcessShare:
    """The contiguous part of every global batch that a process gets: part `index` of `count`."""

    index: int
    count: int


WHOLE_BATCH = ProcessShare(index=0, count=1)


class Batch(TypedDict):
    """B rows of S ids. Filler rows are `[CLS] [SEP]` with weight 0.

    ids: int32 [B, S], `[CLS] x1 .. xn [SEP] [PAD]..`.
    label: int32 [B], the corpus's first label field, -1 where there is none.
    weight: float32 [B], 1 for a sentence, 0 for a filler.
    index: int64 [B], the row in the split, -1 for a filler.
    features: float32 [B, E], the split's features of each row, 0 for a filler; only where the split
        has them.
    encoder_ids: int32 [B, R], as `ids`, in the tokens that the encoder reads; only where these are
        others than the decoder's.
    """

    ids: npt.NDArray[np.int32]
    label: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    index: npt.NDArray[np.int64]
    features: NotRequired[npt.NDArray[np.float32]]
    encoder_ids: NotRequired[npt.NDArray[np.int32]]


def device_arrays(batch: Batch, *names: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a batch that a model reads: ids, inputs of the encoder, and `names`."""
    wanted = ("ids", "features", "encoder_ids", *names)
    return {name: array for name, array in batch.items() if name in wanted}  # type: ignore[misc]


def best_shapes(
    histogram: npt.NDArray[np.integer], batch_size: int, max_buckets: int
) -> tuple[int, ...]:
    """Finds the static lengths that leave the fewest padded positions.

    Exact, by dynamic programming over the lengths at which one bucket may end and the next begin. A
    bucket of n sentences and shape S costs ceil(n / B) * B * (S - 1) target positions, so the
    filler of its last batch counts too. Of equally good choices the one with fewer shapes is taken.

    Args:
      histogram: [L+1], how many rows have each length, [CLS] and [SEP] counted.
      batch_size: B, rows of a global batch.
      max_buckets: the most shapes allowed.

    Returns:
      Increasing lengths of at least 3; the last is that of the longest row (with no rows: none).
    """
    lengths = np.flatnonzero(histogram)
    if not len(lengths):
        return ()
    before = np.concatenate([[0], np.cumsum(histogram[lengths], dtype=np.int64)])
    max_buckets = min(max_buckets, len(lengths))
    # best[g, j]: the fewest positions for the j shortest lengths in exactly g buckets.
    best = np.full((max_buckets + 1, len(lengths) + 1), np.iinfo(np.int64).max // 2)
    best[0, 0] = 0
    chosen = np.zeros(best.shape, np.int64)
    for j in range(1, len(lengths) + 1):
        targets = max(int(lengths[j - 1]), SHORTEST) - 1
        last_bucket = -((before[:j] - before[j]) // batch_size) * batch_size * targets
        total = best[:-1, :j] + last_bucket
        chosen[1:, j] = np.argmin(total, axis=1)
        best[1:, j] = np.min(total, axis=1)
    bucket, end = int(np.argmin(best[:, -1])), len(lengths)
    shapes: list[int] = []
    while bucket:
        shapes.append(max(int(lengths[end - 1]), SHORTEST))
        bucket, end = bucket - 1, int(chosen[bucket, end])
    return tuple(reversed(shapes))


@dataclasses.dataclass(frozen=True)
class Buckets:
    """The rows of a split by bucket, and a process's part of each batch.

    Attributes:
      split: the sentences.
      frame: the ids around a sentence.
      order: int32 [N], the rows by bucket, rising within one.
      shapes: [G] static lengths S, increasing.
      row_starts: [G+1], where each bucket begins in `order`.
      batch_starts: [G+1], the number of the first batch of each bucket.
      batch_size: B, rows of a global batch.
      first, rows: the process's part of a batch, rows first : first + rows.
      padding: the share of target positions that hold no target, filler rows counted.
      read_shapes: [G] static lengths R in the encoder's own tokens, where the split has them.
    """

    split: TokenizedSplit
    frame: FrameIds
    order: npt.NDArray[np.int32]
    shapes: tuple[int, ...]
    row_starts: npt.NDArray[np.int64]
    batch_starts: npt.NDArray[np.int64]
    batch_size: int
    first: int
    rows: int
    padding: float
    read_shapes: tuple[int, ...] = ()

    @property
    def batches(self) -> int:
        """The number of batches that hold every sentence once."""
        return int(self.batch_starts[-1])

    def batch(self, order: npt.NDArray[np.int32], number: int) -> Batch:
        """The process's part of batch `number`.

        Args:
          order: [N], the rows, perhaps shuffled, each within its bucket's part of `self.order`.
          number: of the batch, 0 <= number < batches.
        """
        bucket = int(np.searchsorted(self.batch_starts, number, side="right")) - 1
        start = self.row_starts[bucket] + (number - self.batch_starts[bucket]) * self.batch_size
        start += self.first
        rows = order[start : max(start, min(start + self.rows, self.row_starts[bucket + 1]))]
        index_B = np.full(self.rows, -1, np.int64)
        index_B[: len(rows)] = rows
        label_B = np.full(self.rows, -1, np.int32)
        if self.split.labels:
            first_field = next(iter(self.split.labels.values()))
            label_B[: len(rows)] = first_field[rows]
        ids_BxS = np.empty((self.rows, self.shapes[bucket]), np.int32)
        self.split.fill(index_B, ids_BxS, self.frame)
        weight_B = (index_B >= 0).astype(np.float32)
        batch = Batch(ids=ids_BxS, label=label_B, weight=weight_B, index=index_B)
        if self.split.features is not None:
            features_BxE = np.zeros((self.rows, self.split.features.shape[1]), np.float32)
            features_BxE[: len(rows)] = self.split.features[rows]
            batch["features"] = features_BxE
        if self.split.read is not None:
            read = self.split.read
            batch["encoder_ids"] = np.empty((self.rows, self.read_shapes[bucket]), np.int32)
            read.split.fill(index_B, batch["encoder_ids"], read.frame)
        return batch


def make_buckets(
    split: TokenizedSplit,
    *,
    frame: FrameIds,
    batch_size: int,
    max_len: int,
    shapes: Sequence[int] | None = None,
    max_buckets: int = 8,
    share: ProcessShare = WHOLE_BATCH,
) -> Buckets:
    """Puts the rows of a split into buckets.

    Args:
      split: the sentences.
      frame: the tokenizer's ids of [PAD], [CLS] and [SEP].
      batch_size: B, rows of a global batch; the processes must divide it.
      max_len: the length that sentences were cut to, [CLS] and [SEP] counted.
      shapes: static lengths to keep to, so that several splits share compiled programs; one is
        added where a sentence is longer than all. None: the best ones for this split.
      max_buckets: the most static lengths, where `shapes` is None.
      share: the part of every batch that this process gets.

    Raises:
      UserError: there are no sentences.
      ValueError: the processes do not divide the batch, or a sentence is longer than `max_len`
        (the split is that of other settings).
    """
    rows, left = divmod(batch_size, share.count)
    if left:
        raise ValueError(f"{share.count} processes do not divide a batch of {batch_size} rows")
    if not len(split):
        raise UserError("the split has no sentences: there is nothing to make batches of")
    lengths_N = split.lengths
    histogram = _histogram(lengths_N)
    if len(histogram) - 1 > max_len:
        raise ValueError(f"a sentence has {len(histogram) - 1} ids, max_len is {max_len}")
    if shapes is None:
        shapes = best_shapes(histogram, batch_size, max_buckets)
    elif max(shapes, default=0) < len(histogram) - 1:
        shapes = [*shapes, len(histogram) - 1]
    bounds = np.array(sorted({max(shape, SHORTEST) for shape in shapes}))
    bucket_of_length = np.searchsorted(bounds, np.arange(len(histogram)))
    sizes = np.bincount(bucket_of_length, weights=histogram, minlength=len(bounds)).astype(np.int64)
    bucket_of_length = np.cumsum(sizes > 0)[bucket_of_length] - 1  # numbered without empty ones
    bounds, sizes = bounds[sizes > 0], sizes[sizes > 0]
    batches = -(-sizes // batch_size)
    positions = np.sum(batches * (bounds - 1)) * batch_size
    order = _by_bucket(lengths_N, bucket_of_length, sizes)
    return Buckets(
        split=split,
        frame=frame,
        order=order,
        shapes=tuple(int(bound) for bound in bounds),
        row_starts=np.concatenate([[0], np.cumsum(sizes)]),
        batch_starts=np.concatenate([[0], np.cumsum(batches)]),
        batch_size=batch_size,
        first=share.index * rows,
        rows=rows,
        padding=1.0 - float(np.sum(histogram * (np.arange(len(histogram)) - 1)) / positions),
        read_shapes=_read_shapes(split, order, sizes, max_len),
    )


def _read_shapes(
    split: TokenizedSplit,
    order: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int64],
    max_len: int,
) -> tuple[int, ...]:
    """The longest row of each bucket in the encoder's own tokens, rounded up."""
    if split.read is None:
        return ()
    lengths_N, ends = split.read.split.lengths, np.cumsum(sizes)
    longest = [
        int(lengths_N[order[end - size : end]].max()) for end, size in zip(ends, sizes, strict=True)
    ]
    return tuple(min(-(-length // READ_STEP) * READ_STEP, max_len) for length in longest)


def _histogram(lengths_N: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    counts = np.zeros(int(lengths_N.max()) + 1, np.int64)
    for start in range(0, len(lengths_N), _CHUNK):
        counts += np.bincount(lengths_N[start : start + _CHUNK], minlength=len(counts))
    return counts


def _by_bucket(
    lengths_N: npt.NDArray[np.int32],
    bucket_of_length: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> npt.NDArray[np.int32]:
    """All rows by bucket, rising within one: a counting sort in chunks, with no large temporary."""
    order = np.empty(len(lengths_N), np.int32)
    ends = np.cumsum(sizes) - sizes  # of what each bucket holds so far
    small = bucket_of_length.astype(np.uint16)  # numpy sorts 16 bits by counting, in linear time
    for start in range(0, len(lengths_N), _CHUNK):
        buckets = small[lengths_N[start : start + _CHUNK]]
        rows = np.argsort(buckets, kind="stable") + start
        counts = np.bincount(buckets, minlength=len(sizes))
        for end, part in zip(ends, np.split(rows, np.cumsum(counts)[:-1]), strict=True):
            order[end : end + len(part)] = part
        ends = ends + counts
    return order
