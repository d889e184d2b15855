"""Parameters that training leaves as they are: no gradient, no moments, no decay.

A step differentiates and updates the others alone, and a checkpoint leaves the frozen ones out.
"""

from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

Tree = dict[str, Any]
FREEZES = ("none", "encoder", "mean", "embeddings")


def is_frozen(path: tuple[str, ...], freeze: str) -> bool:
    """Whether a parameter is frozen.

    Args:
      path: its keys in the tree of parameters.
      freeze: `none`, `encoder` (not the layers of the posterior behind it), `mean` (the encoder and
        the layer of the posterior's mean), or `embeddings` (of tokens and positions, in encoder and
        decoder; a tied output layer with them).
    """
    if freezes_encoder(freeze):
        return path[0] == "encoder" or (freeze == "mean" and path[0] == "mu")
    return freeze == "embeddings" and "embedding" in path


def freezes_encoder(freeze: str) -> bool:
    """Whether the whole encoder is frozen, so that what it makes of a sentence never changes."""
    return freeze in ("encoder", "mean")


def split(params: Tree, freeze: str) -> tuple[Tree, Tree]:
    """(the parameters that are trained, the frozen ones); `join` makes them one tree again."""
    if freeze == "none":
        return params, {}
    flat = flatten_dict(params)
    frozen = {path: leaf for path, leaf in flat.items() if is_frozen(path, freeze)}
    trained = {path: leaf for path, leaf in flat.items() if path not in frozen}
    return unflatten_dict(trained), unflatten_dict(frozen)


def join(trained: Tree, frozen: Tree) -> Tree:
    """All parameters of a model from the two parts of `split`."""
    if not frozen:
        return trained
    joined: Tree = unflatten_dict({**flatten_dict(trained), **flatten_dict(frozen)})
    return joined
