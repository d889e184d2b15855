"""From an encoded split to the batch of step n: few static lengths, nothing to save for a resume.

Sentences are grouped by length and every group has one static shape. Batches are global: each
process takes its contiguous share of the rows, so any number of processes sees the same batches.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vaetx_jax import errors
from vaetx_jax.data.bucketing import Batch, make_buckets
from vaetx_jax.data.tokenized import FrameIds, TokenizedSplit

READ_THREADS = 2
READ_AHEAD = 16  # batches


class Batches(Protocol):
    """What `read_ahead` reads."""

    def at(self, step: int, /) -> Batch: ...


class TrainBatches:
    """Endless shuffled epochs; every sentence comes exactly once in each.

    `at(step)` is a pure function of the split, the seed, the step and the process, so a resumed
    run asks for its next step and nothing else. It may be called from several threads.

    Attributes:
      steps_per_epoch: batches of an epoch.
      shapes: the static lengths S, increasing.
      padding: the share of an epoch's target positions that hold no target, filler rows counted.
    """

    def __init__(
        self,
        split: TokenizedSplit,
        *,
        batch_size: int,
        seed: int,
        batching: str = "groups",
        groups: int = 8,
        max_len: int,
        pad_id: int,
        cls_id: int,
        sep_id: int,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        """Plans the groups.

        Args:
          split: the sentences.
          batch_size: B, rows of a global batch; each process gets B / process_count of them.
          seed: `data.seed`, at least 0.
          batching: "groups" of like length, or "pad": every batch is `max_len` long.
          groups: the most static lengths.
          max_len: the length that sentences were cut to, [CLS] and [SEP] counted.
          pad_id, cls_id, sep_id: the tokenizer's ids of [PAD], [CLS] and [SEP].
          process_index: which share of every batch is ours.
          process_count: how many processes share a batch.

        Raises:
          UserError: a size is out of range, the processes do not divide the batch, or there are
            no sentences.
          ValueError: a sentence is longer than `max_len`.
        """
        if batching not in ("groups", "pad"):
            raise errors.ConfigError(f'data.batching is "{batching}": take "groups" or "pad"')
        if seed < 0:
            raise errors.ConfigError(f"data.seed is {seed}: it must not be negative")
        self._layout = make_buckets(
            split,
            frame=FrameIds(pad_id, cls_id, sep_id),
            batch_size=batch_size,
            shapes=[max_len] if batching == "pad" else None,
            groups=groups,
            max_len=max_len,
            process_index=process_index,
            process_count=process_count,
        )
        self._seed = seed
        self._lock = threading.Lock()
        self._epochs: dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]] = {}
        self.steps_per_epoch = self._layout.batches
        self.shapes = self._layout.shapes
        self.padding = self._layout.padding

    def at(self, step: int) -> Batch:
        """This process's rows of the batch of `step` >= 0."""
        if step < 0:
            raise ValueError(f"step {step} is negative")
        epoch, position = divmod(int(step), self.steps_per_epoch)
        rows, numbers = self._epoch(epoch)
        return self._layout.batch(rows, int(numbers[position]))

    def _epoch(self, epoch: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The shuffled rows [N] and the shuffled numbers of the batches of an epoch."""
        with self._lock:
            if epoch not in self._epochs:
                # Two are kept: reading ahead crosses from one epoch into the next.
                while len(self._epochs) > 1:
                    del self._epochs[next(iter(self._epochs))]
                self._epochs[epoch] = self._shuffle(epoch)
            return self._epochs[epoch]

    def _shuffle(self, epoch: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        random = np.random.default_rng(np.random.SeedSequence([self._seed, epoch]))
        rows = self._layout.order.copy()
        for group in np.split(rows, self._layout.row_starts[1:-1]):
            random.shuffle(group)  # a view of `rows`
        numbers = np.arange(self.steps_per_epoch, dtype=np.int32)
        random.shuffle(numbers)
        return rows, numbers


class EvalBatches:
    """Every sentence exactly once, shortest group first; `index` says which row is which.

    Attributes:
      shapes: the static lengths S that occur, increasing.
      padding: the share of target positions that hold no target, filler rows counted.
    """

    def __init__(
        self,
        split: TokenizedSplit,
        *,
        batch_size: int,
        shapes: Sequence[int] | None = None,
        groups: int = 8,
        max_len: int,
        pad_id: int,
        cls_id: int,
        sep_id: int,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        """Plans the groups; see `TrainBatches`.

        Args:
          split: the sentences.
          batch_size: B, rows of a global batch.
          shapes: static lengths to keep to, so that several splits share compiled programs; one is
            added where a sentence is longer than all. None: the best ones for this split.
          groups: the most static lengths, where `shapes` is None.
          max_len: the length that sentences were cut to, [CLS] and [SEP] counted.
          pad_id, cls_id, sep_id: the tokenizer's ids of [PAD], [CLS] and [SEP].
          process_index: which share of every batch is ours.
          process_count: how many processes share a batch.

        Raises:
          UserError, ValueError: as for `TrainBatches`.
        """
        self._layout = make_buckets(
            split,
            frame=FrameIds(pad_id, cls_id, sep_id),
            batch_size=batch_size,
            shapes=shapes,
            groups=groups,
            max_len=max_len,
            process_index=process_index,
            process_count=process_count,
        )
        self.shapes = self._layout.shapes
        self.padding = self._layout.padding

    def __len__(self) -> int:
        return self._layout.batches

    def __getitem__(self, number: int) -> Batch:
        return self.at(number)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.at, range(len(self)))

    def at(self, number: int) -> Batch:
        """This process's rows of batch `number`, 0 <= number < len."""
        if not 0 <= number < len(self):
            raise IndexError(f"batch {number} of {len(self)}")
        return self._layout.batch(self._layout.order, int(number))


def read_ahead(batches: Batches, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
    """The batches of steps start..stop-1 in order, made by threads while the caller computes.

    What a thread raises is raised here. The threads end with the iterator, early or late.
    """
    import grain  # here, because it takes a second that evaluation and tests need not spend

    steps = grain.MapDataset.range(start, stop).map(lambda step: (int(step), batches.at(step)))
    options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=READ_AHEAD)
    iterator = iter(steps.to_iter_dataset(options))
    try:
        yield from iterator
    finally:
        iterator.close()
