"""Vectors written to a file as they come: `.npy` and Parquet, in constant memory.

A file has its name only when it is whole.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from vaetx_jax.errors import UserError


class VectorFile(Protocol):
    """Takes rows until it is closed or given up."""

    def add(self, numbers_N: np.ndarray, mean_NxZ: np.ndarray, std_NxZ: np.ndarray) -> None:
        """The next rows, with the line numbers they come from."""

    def close(self) -> None:
        """The file is whole."""

    def give_up(self) -> None:
        """The file is not to be."""


class NpyFile:
    """float32 [N, Z], a row for each sentence: its posterior mean.

    The rows are counted in the header at the end; numpy leaves room for that there.
    """

    def __init__(self, path: pathlib.Path, width: int):
        self._path, self._width, self._rows = path, width, 0
        self._temporary = _beside(path)
        self._file = self._temporary.open("wb")
        self._header()

    def add(self, numbers_N: np.ndarray, mean_NxZ: np.ndarray, std_NxZ: np.ndarray) -> None:
        del numbers_N, std_NxZ
        self._rows += len(mean_NxZ)
        self._file.write(np.ascontiguousarray(mean_NxZ, "<f4").tobytes())

    def close(self) -> None:
        self._file.seek(0)
        self._header()
        self._file.close()
        os.replace(self._temporary, self._path)

    def give_up(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _header(self) -> None:
        shape = (self._rows, self._width)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class ParquetFile:
    """Columns `line` (from 1), `mean` and `std` (lists of Z float32).

    Raises:
      UserError: pyarrow is not installed.
    """

    def __init__(self, path: pathlib.Path, width: int):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise UserError(
                f"{path}: Parquet needs pyarrow; pip install 'vaetx-jax[parquet]', or give a .npy"
            ) from None
        self._arrow: Any = pyarrow
        self._path, self._temporary = path, _beside(path)
        vector = pyarrow.list_(pyarrow.float32(), width)
        fields = [("line", pyarrow.int64()), ("mean", vector), ("std", vector)]
        self._schema = pyarrow.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(self._temporary, self._schema)

    def add(self, numbers_N: np.ndarray, mean_NxZ: np.ndarray, std_NxZ: np.ndarray) -> None:
        arrow = self._arrow
        lists = [
            arrow.FixedSizeListArray.from_arrays(arrow.array(x.ravel()), x.shape[1])
            for x in (mean_NxZ, std_NxZ)
        ]
        lines = arrow.array(numbers_N, arrow.int64())
        self._writer.write_batch(arrow.record_batch([lines, *lists], schema=self._schema))

    def close(self) -> None:
        self._writer.close()
        os.replace(self._temporary, self._path)

    def give_up(self) -> None:
        self._writer.close()
        self._temporary.unlink(missing_ok=True)


KINDS: dict[str, Callable[[pathlib.Path, int], VectorFile]] = {
    ".npy": NpyFile,
    ".parquet": ParquetFile,
}


def _beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
