"""Writing an array to disk whose length is not known beforehand."""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import Any

import numpy as np


class ArrayFile:
    """A one-dimensional `.npy` file that grows: the header is written again at the end."""

    def __init__(self, path: pathlib.Path, dtype: np.dtype[Any]) -> None:
        self._stream = open(path, "wb")  # noqa: SIM115  # open as long as we are
        self._dtype = dtype
        self._count = 0
        self._header()
        self._data_start = self._stream.tell()

    def _header(self) -> None:
        # numpy leaves room in the header for a longer shape, for exactly this use.
        shape = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(self._stream, shape)

    def append(self, values: Any) -> None:
        """Adds numbers, which must fit the type."""
        array = np.asarray(values, self._dtype)
        self._stream.write(array.data)
        self._count += len(array)

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
        """Lets go of the file, finished or not."""
        with contextlib.suppress(OSError):  # after `finish` there is nothing left to lose
            self._stream.close()
