"""The rows of a Parquet file, by the columns that are read."""

import io
import pathlib
from collections.abc import Iterator
from typing import Any

from vaetx_jax.data.decoded_lines import OPENERS, Source, name_of, open_bytes
from vaetx_jax.data.fields import Fields, columns_in_schema
from vaetx_jax.errors import UserError

_ROWS = 1_024  # read together


def parquet_rows(
    source: Source, fields: Fields, keys: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (number of the row from 1, the chosen columns by name).

    Raises:
      UserError: pyarrow is not installed, the file cannot be read, or lacks a column.
    """
    name = name_of(source)
    file = open_parquet(name, pathlib.Path(source).expanduser())
    columns = columns_in_schema(name, file.schema_arrow.names, fields, keys)
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns.values())):
            for row in batch.to_pylist():
                number += 1
                yield number, {key: row[column] for key, column in columns.items()}
    except (OSError, ValueError) as error:  # pyarrow's own errors are both
        where = f"{name}, after row {number}"
        raise UserError(f"{where}: damaged ({error}). Write it again.") from error


def open_parquet(name: str, path: pathlib.Path) -> Any:
    """A pyarrow.parquet.ParquetFile.

    Args:
      name: of the file in messages.

    Raises:
      UserError: pyarrow is not installed, or the file cannot be read.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(
            f"{name}: a Parquet file needs pyarrow; pip install 'vaetx-jax[parquet]'"
        ) from None
    try:
        if path.suffix.lower() not in OPENERS:
            return pq.ParquetFile(path)
        with open_bytes(path) as stream:
            return pq.ParquetFile(io.BytesIO(stream.read()))
    except (OSError, ValueError, EOFError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {name}: {why}. Is it a Parquet file?") from error
