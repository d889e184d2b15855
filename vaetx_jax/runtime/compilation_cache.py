"""The persistent cache of compiled programs: on a CPU, too, a second start takes seconds."""

import pathlib

import jax
from jax.experimental.compilation_cache import compilation_cache


def use_compilation_cache(cache_dir: pathlib.Path) -> None:
    """Keeps compiled programs under `cache_dir`, small ones too: on a CPU that is most of them.

    A folder that was chosen before stands: that of $JAX_COMPILATION_CACHE_DIR, or of the first run
    that this process opened.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    jax.config.update("jax_compilation_cache_dir", str(cache_dir / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # JAX asks once, before the first program, whether there is a cache; it may have had one.
    compilation_cache.reset_cache()
