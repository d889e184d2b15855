"""A `.npy` file that grows: for arrays whose length is not known beforehand."""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import Any

import numpy as np


class ArrayFile:
    """Writes an array row by row, in constant memory.

    The header is written again at the end; numpy leaves room in it for the number of rows.

    Args:
      path: the file; an older one is overwritten.
      dtype: of the array.
      row_shape: of a row; () for a one-dimensional array.
    """

    def __init__(
        self, path: pathlib.Path, dtype: np.dtype[Any], row_shape: tuple[int, ...] = ()
    ) -> None:
        self._stream = open(path, "wb")  # noqa: SIM115  # open as long as we are
        self._dtype = dtype
        self._row_shape = row_shape
        self._rows = 0
        self._header()
        self._data_start = self._stream.tell()

    def _header(self) -> None:
        shape = (self._rows, *self._row_shape)
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)

    def append(self, rows: Any) -> None:
        """Adds rows, whose values must fit the type."""
        array = np.ascontiguousarray(rows, self._dtype)
        self._stream.write(array.data)
        self._rows += len(array)

    def finish(self) -> int:
        """Completes the file on the disk and returns its size in bytes."""
        size = self._stream.tell()
        self._stream.seek(0)
        self._header()
        if self._stream.tell() != self._data_start:
            raise RuntimeError("numpy's header has changed its size")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        return size

    def close(self) -> None:
        """Closes the file, finished or not."""
        with contextlib.suppress(OSError):  # after `finish` there is nothing left to lose
            self._stream.close()
