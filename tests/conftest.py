"""What all tests share: strict JAX, a quiet and private cache, the real corpora where they are."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Most of the tests' time is compilation, and half of that makes programs faster that run once.
jax.config.update("jax_disable_most_optimizations", True)

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of the public corpora; the test is skipped where it is missing."""
    folder = pathlib.Path(os.environ.get("VAETX_DATA", REPOSITORY / ".." / "shared" / "data"))
    if not (folder / "ptb" / "train.txt").is_file():
        pytest.skip(f"no real corpora under {folder}: set VAETX_DATA to their folder")
    return folder.resolve()
