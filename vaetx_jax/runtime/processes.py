"""Messages between the processes of a run; a single process needs none.

All functions but `is_first` must be called by every process, in the same order.
"""

import json
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first() -> bool:
    """Whether this is the process that prepares data and writes the shared files."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits for all processes.

    Args:
      name: of the event, for the message of a process that waits in vain.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def from_first(value: Any) -> Any:
    """Returns the first process's value on all processes: anything that JSON has."""
    return from_all(value if is_first() else None)[0]


def from_all(value: Any) -> list[Any]:
    """Returns every process's value, by process number: anything that JSON has."""
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.int32(len(text)))).reshape(-1)
    buffer = np.zeros(int(sizes.max()), np.uint8)
    buffer[: len(text)] = text
    rows = np.asarray(multihost_utils.process_allgather(buffer), np.uint8)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


def any_of(flag: bool) -> bool:
    """Whether the flag is set on any process."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))
