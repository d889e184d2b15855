"""What the processes of a run say to each other; alone, a process talks to itself at no cost.

All functions but `is_first` must be called by every process, in the same order.
"""

import json
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first() -> bool:
    """Whether this is the process that prepares data and writes what is written once."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits for all processes.

    Args:
      name: what is waited for, for the message of a process that waits in vain.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def from_first(value: Any) -> Any:
    """What the first process passes, on all of them: anything that JSON has."""
    return from_all(value if is_first() else None)[0]


def from_all(value: Any) -> list[Any]:
    """What each process passes, by its number: anything that JSON has."""
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.int32(len(text)))).reshape(-1)
    buffer = np.zeros(int(sizes.max()), np.uint8)
    buffer[: len(text)] = text
    rows = np.asarray(multihost_utils.process_allgather(buffer), np.uint8)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


def any_of(flag: bool) -> bool:
    """Whether any process says yes."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))
