"""The persistent cache of compiled programs: on a CPU, too, a second start takes seconds."""

import pathlib

import jax


def use_compilation_cache(cache_dir: pathlib.Path) -> None:
    """Keeps compiled programs under `cache_dir`, small ones too: on a CPU that is most of them."""
    jax.config.update("jax_compilation_cache_dir", str(cache_dir / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
