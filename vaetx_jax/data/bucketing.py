"""Which sentences share a static length, and what one batch of them is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from vaetx_jax import errors
from vaetx_jax.data.tokenized import FrameIds, TokenizedSplit

SHORTEST = 3  # the shortest shape; a row without pieces has 2 ids
_CHUNK = 1 << 16  # rows looked at together while the plan is made


class Batch(TypedDict):
    """B rows of S ids. Filler rows are `[CLS] [SEP]` with weight 0.

    ids: int32 [B, S], `[CLS] x1 .. xn [SEP] [PAD]..`.
    label: int32 [B], the corpus's first label field, -1 where there is none.
    weight: float32 [B], 1 for a sentence, 0 for a filler.
    index: int64 [B], the row in the split, -1 for a filler.
    """

    ids: npt.NDArray[np.int32]
    label: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    index: npt.NDArray[np.int64]


def best_shapes(
    histogram: npt.NDArray[np.integer], batch_size: int, groups: int
) -> tuple[int, ...]:
    """The static lengths that leave the fewest padded positions.

    Exact, by dynamic programming over the places where one group may end and the next begin. A
    group of n sentences and shape S costs ceil(n / B) * B * (S - 1) target positions, so the
    filler of its last batch counts too. Of equally good choices the one with fewer shapes is taken.

    Args:
      histogram: [L+1], how many rows have each length, [CLS] and [SEP] counted.
      batch_size: B, rows of a global batch.
      groups: the most shapes allowed.

    Returns:
      Increasing lengths of at least 3; the last is that of the longest row (with no rows: none).
    """
    lengths = np.flatnonzero(histogram)
    if not len(lengths):
        return ()
    before = np.concatenate([[0], np.cumsum(histogram[lengths], dtype=np.int64)])
    groups = min(groups, len(lengths))
    # best[g, j]: the fewest positions for the j shortest lengths in exactly g groups.
    best = np.full((groups + 1, len(lengths) + 1), np.iinfo(np.int64).max // 2)
    best[0, 0] = 0
    chosen = np.zeros(best.shape, np.int64)
    for j in range(1, len(lengths) + 1):
        targets = max(int(lengths[j - 1]), SHORTEST) - 1
        last_group = -((before[:j] - before[j]) // batch_size) * batch_size * targets
        total = best[:-1, :j] + last_group
        chosen[1:, j] = np.argmin(total, axis=1)
        best[1:, j] = np.min(total, axis=1)
    group, end = int(np.argmin(best[:, -1])), len(lengths)
    shapes: list[int] = []
    while group:
        shapes.append(max(int(lengths[end - 1]), SHORTEST))
        group, end = group - 1, int(chosen[group, end])
    return tuple(reversed(shapes))


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Which rows share a shape, and this process's share of a batch.

    order: int32 [N], the rows by group, rising within a group.
    shapes: [G] static lengths.
    row_starts, batch_starts: [G+1], where each group begins in `order` and in the batches' numbers.
    """

    split: TokenizedSplit
    frame: FrameIds
    order: npt.NDArray[np.int32]
    shapes: tuple[int, ...]
    row_starts: npt.NDArray[np.int64]
    batch_starts: npt.NDArray[np.int64]
    batch_size: int
    first: int  # the process's rows of a batch are first : first + share
    share: int
    padding: float

    @property
    def batches(self) -> int:
        return int(self.batch_starts[-1])

    def batch(self, order: npt.NDArray[np.int32], number: int) -> Batch:
        """Batch `number` of the rows in `order`, which keeps each group in its place."""
        group = int(np.searchsorted(self.batch_starts, number, side="right")) - 1
        start = self.row_starts[group] + (number - self.batch_starts[group]) * self.batch_size
        start += self.first
        rows = order[start : max(start, min(start + self.share, self.row_starts[group + 1]))]
        index_B = np.full(self.share, -1, np.int64)
        index_B[: len(rows)] = rows
        label_B = np.full(self.share, -1, np.int32)
        if self.split.labels:
            first_field = next(iter(self.split.labels.values()))
            label_B[: len(rows)] = first_field[rows]
        ids_BxS = np.empty((self.share, self.shapes[group]), np.int32)
        self.split.fill(index_B, ids_BxS, self.frame)
        weight_B = (index_B >= 0).astype(np.float32)
        return Batch(ids=ids_BxS, label=label_B, weight=weight_B, index=index_B)


def make_buckets(
    split: TokenizedSplit,
    *,
    frame: FrameIds,
    batch_size: int,
    shapes: Sequence[int] | None,
    groups: int,
    max_len: int,
    process_index: int,
    process_count: int,
) -> Buckets:
    """Groups the rows under `shapes`, or under the best `groups` ones where that is None.

    Raises:
      UserError: a size is out of range, the processes do not divide the batch, or there are no
        sentences.
      ValueError: a sentence is longer than `max_len`: the split is that of other settings.
    """
    share = _share(batch_size, process_count)
    if groups < 1:
        raise errors.ConfigError(f"the number of length groups is {groups}: at least 1 is needed")
    if not len(split):
        raise errors.UserError("the split has no sentences: there is nothing to make batches of")
    lengths_N = split.lengths
    histogram = _histogram(lengths_N)
    if len(histogram) - 1 > max_len:
        raise ValueError(f"a sentence has {len(histogram) - 1} ids, max_len is {max_len}")
    if shapes is None:
        shapes = best_shapes(histogram, batch_size, groups)
    elif max(shapes, default=0) < len(histogram) - 1:
        shapes = [*shapes, len(histogram) - 1]
    bounds = np.array(sorted({max(shape, SHORTEST) for shape in shapes}))
    group_of_length = np.searchsorted(bounds, np.arange(len(histogram)))
    sizes = np.bincount(group_of_length, weights=histogram, minlength=len(bounds)).astype(np.int64)
    group_of_length = np.cumsum(sizes > 0)[group_of_length] - 1  # numbered without empty ones
    bounds, sizes = bounds[sizes > 0], sizes[sizes > 0]
    batches = -(-sizes // batch_size)
    positions = np.sum(batches * (bounds - 1)) * batch_size
    return Buckets(
        split=split,
        frame=frame,
        order=_by_group(lengths_N, group_of_length, sizes),
        shapes=tuple(int(bound) for bound in bounds),
        row_starts=np.concatenate([[0], np.cumsum(sizes)]),
        batch_starts=np.concatenate([[0], np.cumsum(batches)]),
        batch_size=batch_size,
        first=process_index * share,
        share=share,
        padding=1.0 - float(np.sum(histogram * (np.arange(len(histogram)) - 1)) / positions),
    )


def _share(batch_size: int, process_count: int) -> int:
    if batch_size < 1:
        raise errors.ConfigError(f"data.batch_size is {batch_size}: at least 1 is needed")
    share, left = divmod(batch_size, process_count)
    if left:
        near = [size * process_count for size in (share, share + 1) if size]
        raise errors.ConfigError(
            f"data.batch_size is {batch_size}, which {process_count} processes cannot share "
            f"evenly: take {' or '.join(map(str, near))}"
        )
    return share


def _histogram(lengths_N: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    counts = np.zeros(int(lengths_N.max()) + 1, np.int64)
    for start in range(0, len(lengths_N), _CHUNK):
        counts += np.bincount(lengths_N[start : start + _CHUNK], minlength=len(counts))
    return counts


def _by_group(
    lengths_N: npt.NDArray[np.int32],
    group_of_length: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> npt.NDArray[np.int32]:
    """All rows by group, rising within one: a counting sort in chunks, with no large temporary."""
    order = np.empty(len(lengths_N), np.int32)
    places = np.cumsum(sizes) - sizes
    small = group_of_length.astype(np.uint16)  # numpy sorts 16 bits by counting, in linear time
    for start in range(0, len(lengths_N), _CHUNK):
        groups = small[lengths_N[start : start + _CHUNK]]
        rows = np.argsort(groups, kind="stable") + start
        counts = np.bincount(groups, minlength=len(sizes))
        for place, part in zip(places, np.split(rows, np.cumsum(counts)[:-1]), strict=True):
            order[place : place + len(part)] = part
        places = places + counts
    return order
