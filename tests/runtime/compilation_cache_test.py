"""Where compiled programs are kept."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from vaetx_jax.inference.loading import load
from vaetx_jax.runtime.compilation_cache import use_compilation_cache


@pytest.fixture
def no_cache():
    """A process that has chosen no cache; afterwards all is as it was."""
    chosen = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", chosen)
    compilation_cache.reset_cache()


def test_programs_are_kept_though_one_was_compiled_before(no_cache, tmp_path):
    jax.jit(lambda x: x + 1.5)(jnp.zeros(7))
    use_compilation_cache(tmp_path)
    jax.jit(lambda x: x + 2.5)(jnp.zeros(7))
    assert list((tmp_path / "compiled").iterdir())


def test_a_folder_that_was_chosen_before_stands(no_cache, tmp_path):
    use_compilation_cache(tmp_path / "first")
    use_compilation_cache(tmp_path / "second")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "first" / "compiled")


def test_a_loaded_model_keeps_its_programs_in_its_runs_cache(no_cache, trained, config):
    load(trained)
    assert jax.config.jax_compilation_cache_dir == f"{config.data.cache_dir}/compiled"
