"""The batch of step n: few static lengths, and nothing to save for a resume.

Batches are global: each process takes its contiguous share of the rows, so any number of processes
sees the same batches.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vaetx_jax.data.bucketing import Batch, Buckets

READ_THREADS = 2
READ_AHEAD = 16  # batches


class Batches(Protocol):
    """Batches by number."""

    def at(self, step: int, /) -> Batch:
        """Returns this process's part of a batch; may be called from several threads."""
        ...


class TrainBatches:
    """Endless shuffled epochs; every sentence comes exactly once in each.

    `at(step)` is a pure function of the buckets, the seed and the step, so a resumed run asks for
    its next step and nothing else. It may be called from several threads.

    Args:
      buckets: the sentences by length.
      seed: of the order, at least 0.

    Attributes:
      steps_per_epoch: batches per epoch.
      shapes: the static lengths S, increasing.
      padding: the share of an epoch's target positions that hold no target, filler rows counted.
    """

    def __init__(self, buckets: Buckets, *, seed: int) -> None:
        self._buckets = buckets
        self._seed = seed
        self._lock = threading.Lock()
        self._epochs: dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]] = {}
        self.steps_per_epoch = buckets.batches
        self.shapes = buckets.shapes
        self.padding = buckets.padding

    def at(self, step: int) -> Batch:
        """This process's rows of the batch of `step` >= 0."""
        if step < 0:
            raise ValueError(f"step {step} is negative")
        epoch, position = divmod(int(step), self.steps_per_epoch)
        rows, numbers = self._epoch(epoch)
        return self._buckets.batch(rows, int(numbers[position]))

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
        rows = self._buckets.order.copy()
        for bucket in np.split(rows, self._buckets.row_starts[1:-1]):
            random.shuffle(bucket)  # a view of `rows`
        numbers = np.arange(self.steps_per_epoch, dtype=np.int32)
        random.shuffle(numbers)
        return rows, numbers


class EvalBatches:
    """Every sentence exactly once, the shortest first; `index` says which row is which.

    Args:
      buckets: the sentences by length.

    Attributes:
      shapes: the static lengths S that occur, increasing.
      padding: the share of target positions that hold no target, filler rows counted.
    """

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self.shapes = buckets.shapes
        self.padding = buckets.padding

    def __len__(self) -> int:
        return self._buckets.batches

    def __getitem__(self, number: int) -> Batch:
        return self.at(number)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.at, range(len(self)))

    def at(self, number: int) -> Batch:
        """This process's rows of batch `number`, 0 <= number < len."""
        if not 0 <= number < len(self):
            raise IndexError(f"batch {number} of {len(self)}")
        return self._buckets.batch(self._buckets.order, int(number))


def read_ahead(batches: Batches, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
    """Yields the batches of steps start..stop-1 in order; threads make them ahead of the caller.

    What a thread raises is raised by the iterator. The threads end when it does, early or late.
    """
    import grain  # takes a second that evaluation and tests need not spend

    steps = grain.MapDataset.range(start, stop).map(lambda step: (int(step), batches.at(step)))
    options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=READ_AHEAD)
    iterator = iter(steps.to_iter_dataset(options))
    try:
        yield from iterator
    finally:
        iterator.close()
