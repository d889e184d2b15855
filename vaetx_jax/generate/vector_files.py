"""Vectors written to a file as they come: `.npy` and Parquet, in constant memory.

A file has its name only when it is whole.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import numpy as np

from vaetx_jax.data.array_file import ArrayFile
from vaetx_jax.errors import UserError
from vaetx_jax.runtime.atomic import atomic_path

# Adds rows: line numbers [N], posterior means [N, Z], standard deviations [N, Z].
AddRows = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


@contextlib.contextmanager
def open_npy(path: pathlib.Path, width: int) -> Iterator[AddRows]:
    """Opens a `.npy` file of float32 [N, Z], the posterior mean of each sentence.

    Args:
      path: the file, which appears when the block ends.
      width: Z.
    """
    with atomic_path(path) as temporary:
        file = ArrayFile(temporary, np.dtype("<f4"), (width,))
        with contextlib.closing(file):
            yield lambda numbers_N, mean_NxZ, std_NxZ: file.append(mean_NxZ)
            file.finish()


@contextlib.contextmanager
def open_parquet(path: pathlib.Path, width: int) -> Iterator[AddRows]:
    """Opens a Parquet file of `line` (from 1), `mean` and `std` (lists of Z float32).

    Args:
      path: the file, which appears when the block ends.
      width: Z.

    Raises:
      UserError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"{path}: Parquet needs pyarrow; pip install 'vaetx-jax[parquet]', or give a .npy"
        ) from None
    vector = pyarrow.list_(pyarrow.float32(), width)
    schema = pyarrow.schema([("line", pyarrow.int64()), ("mean", vector), ("std", vector)])

    def add(numbers_N: np.ndarray, mean_NxZ: np.ndarray, std_NxZ: np.ndarray) -> None:
        lists = [
            pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.ravel()), width)
            for x in (mean_NxZ, std_NxZ)
        ]
        lines = pyarrow.array(numbers_N, pyarrow.int64())
        writer.write_batch(pyarrow.record_batch([lines, *lists], schema=schema))

    with (
        atomic_path(path) as temporary,
        pyarrow.parquet.ParquetWriter(temporary, schema) as writer,
    ):
        yield add


OPENERS: dict[str, Callable[[pathlib.Path, int], AbstractContextManager[AddRows]]] = {
    ".npy": open_npy,
    ".parquet": open_parquet,
}
