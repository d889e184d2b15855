"""The vectors of a Parquet file as one array on disk, whatever library wrote them.

They are a column of lists of numbers, all of one length, as pandas, polars and `datasets` write an
array a row; or, in a file without such a column, its columns of numbers side by side.
"""

import pathlib
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from vaetx_jax.data.parquet_rows import open_parquet
from vaetx_jax.errors import UserError

_NAMES = ("vector", "embedding", "mean")  # which column it is where several hold lists
_ROWS = 1_024  # read together


def parquet_vectors(path: pathlib.Path) -> npt.NDArray[Any]:
    """The vectors [N, E], float32, in a temporary file that ends with the array.

    Raises:
      UserError: pyarrow is not installed, the file cannot be read, holds no vectors, or their
        lengths differ.
    """
    file = open_parquet(str(path), path)
    columns, lists = _columns(path, file.schema_arrow)
    out: npt.NDArray[Any] | None = None
    row = 0
    try:
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
            rows_nxE = _lists(path, batch.column(0), row) if lists else _side_by_side(batch)
            if out is None:
                shape = (file.metadata.num_rows, rows_nxE.shape[1])
                with tempfile.TemporaryFile() as temporary:
                    out = np.memmap(temporary, np.float32, "w+", shape=shape)
            if rows_nxE.shape[1] != out.shape[1]:
                raise _ragged(path, row)
            out[row : row + len(rows_nxE)] = rows_nxE
            row += len(rows_nxE)
    except (OSError, ValueError) as error:  # pyarrow's own errors are both
        raise UserError(f"{path}, after row {row}: damaged ({error}). Write it again.") from error
    return np.zeros((0, 0), np.float32) if out is None else out


def _columns(path: pathlib.Path, schema: Any) -> tuple[list[str], bool]:
    """The columns that hold the vectors, and whether it is one column of lists."""
    import pyarrow as pa

    lists = [
        field.name
        for field in schema
        if (
            pa.types.is_list(field.type)
            or pa.types.is_large_list(field.type)
            or pa.types.is_fixed_size_list(field.type)
        )
        and pa.types.is_floating(field.type.value_type)
    ]
    named = [name for name in lists if name in _NAMES]
    if len(lists) == 1 or len(named) == 1:
        return (lists if len(lists) == 1 else named), True
    if lists:
        raise UserError(
            f"{path}: several columns hold lists of numbers ({', '.join(lists)}); name the one to "
            f"read {_NAMES[0]!r}, or write it alone"
        )
    numbers = [field.name for field in schema if pa.types.is_floating(field.type)]
    if not numbers:
        raise UserError(
            f"{path}: no vectors; a column of lists of floating-point numbers, or columns of them"
        )
    return numbers, False


def _lists(path: pathlib.Path, column: Any, first: int) -> npt.NDArray[Any]:
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != lengths[0])  # NaN where there is no list
    if len(odd) or np.isnan(lengths[0]) or not lengths[0]:
        raise _ragged(path, first + (int(odd[0]) if len(odd) else 0))
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(len(column), int(lengths[0]))


def _side_by_side(batch: Any) -> npt.NDArray[Any]:
    columns = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
    return np.stack(columns, axis=1).astype(np.float32)


def _ragged(path: pathlib.Path, row: int) -> UserError:
    return UserError(f"{path}: row {row} (counted from 0) has no vector, or one of another length")
