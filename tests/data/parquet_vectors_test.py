"""Vectors from Parquet files, in the forms that libraries write them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaetx_jax.errors import UserError
from vaetx_jax.run.given_vectors import open_vectors

VECTORS = np.random.default_rng(0).normal(size=(2_500, 3)).astype(np.float32)
LISTS = VECTORS.tolist()


def write(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=1_000)
    return path


@pytest.mark.parametrize(
    "columns",
    [
        {"text": ["a"] * 2_500, "anything": pa.array(LISTS, pa.list_(pa.float32()))},
        {"anything": pa.array(LISTS, pa.list_(pa.float64(), 3))},
        {"mean": pa.array(LISTS, pa.list_(pa.float32())), "std": pa.array(LISTS)},
        {"line": np.arange(2_500), "a": VECTORS[:, 0], "b": VECTORS[:, 1], "c": VECTORS[:, 2]},
    ],
    ids=["lists", "fixed", "named", "columns"],
)
def test_every_form_gives_the_rows_in_their_order(tmp_path, columns):
    np.testing.assert_array_equal(open_vectors(write(tmp_path / "v.parquet", **columns)), VECTORS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"]}, "no vectors; a column of lists"),
        ({"a": [[1.0]], "b": [[1.0]]}, r"several columns hold lists of numbers \(a, b\); name"),
        ({"a": [[1.0], [1.0, 2.0]]}, r"row 1 \(counted from 0\) has no vector, or one of another"),
        ({"a": [[1.0], None]}, r"row 1 \(counted from 0\) has no vector"),
        ({"a": [[1.0, np.nan]]}, "row 0 .* holds a NaN"),
        ({"a": [[1.0, None]]}, "row 0 .* holds a NaN"),
    ],
)
def test_a_file_without_a_vector_for_each_row_is_refused(tmp_path, columns, message):
    with pytest.raises(UserError, match=message):
        open_vectors(write(tmp_path / "v.parquet", **columns))


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "v.parquet").write_bytes(b"not one")
    with pytest.raises(UserError, match="Is it a Parquet file"):
        open_vectors(tmp_path / "v.parquet")
