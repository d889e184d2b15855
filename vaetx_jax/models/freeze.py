"""Parameters that training leaves as they are: no gradient, no moments, no decay."""

from typing import Any

import jax

FREEZES = ("none", "encoder", "embeddings")


def is_frozen(path: tuple[str, ...], freeze: str) -> bool:
    """Whether a parameter is frozen.

    Args:
      path: its keys in the tree of parameters.
      freeze: `none`, `encoder` (not the layers of the posterior behind it), or `embeddings` (of
        tokens and positions, in encoder and decoder; a tied output layer with them).
    """
    if freeze == "encoder":
        return path[0] == "encoder"
    return freeze == "embeddings" and "embedding" in path


def frozen_leaves(params: Any, freeze: str) -> Any:
    """A tree like `params` of bool."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: is_frozen(tuple(str(key.key) for key in path), freeze), params
    )


def stop_frozen(params: Any, freeze: str) -> Any:
    """The same parameters; no gradient reaches the frozen ones."""
    if freeze == "none":
        return params
    frozen = frozen_leaves(params, freeze)
    return jax.tree.map(lambda x, stop: jax.lax.stop_gradient(x) if stop else x, params, frozen)
