"""Compiled programs are kept on disk, on a CPU too: a second start takes seconds."""

import jax
from ml_collections import ConfigDict

from vaetx_jax import config as config_lib


def use_compilation_cache(config: ConfigDict) -> None:
    """Keeps compiled programs between runs; small ones, too, which is most of them on a CPU."""
    jax.config.update("jax_compilation_cache_dir", str(config_lib.cache_dir(config) / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
