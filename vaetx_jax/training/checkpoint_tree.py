"""A training state as the tree that a checkpoint holds, on the devices and on the host."""

from typing import Any

import jax
import numpy as np

from vaetx_jax.models.language_model import PARAMS, Variables
from vaetx_jax.runtime.mesh import replicate
from vaetx_jax.training.optimizer import is_chain, is_moments, moments
from vaetx_jax.training.state import TrainState

COLLECTIONS = "collections"  # in the state of a model that has others than `params`


def to_tree(state: TrainState) -> dict[str, Any]:
    """The tree on disk: `params` at its top; `collections` and `auxiliary` only where there is any.

    The files of all other runs are those of earlier versions.
    """
    rest = state._asdict()
    if not rest["auxiliary"]:
        del rest["auxiliary"]
    return {**variables_tree(rest.pop("variables")), **rest}


def variables_tree(variables: Variables) -> dict[str, Any]:
    """The part of the tree that a model's variables are."""
    others = {name: tree for name, tree in variables.items() if name != PARAMS}
    return {PARAMS: variables[PARAMS], **({COLLECTIONS: others} if others else {})}


def from_tree(tree: dict[str, Any]) -> TrainState:
    """The state of a tree on disk."""
    variables = {PARAMS: tree[PARAMS], **tree.get(COLLECTIONS, {})}
    auxiliary = tree.get("auxiliary", {})
    return TrainState(tree["step"], variables, tree["optimizer"], tree["sums"], auxiliary)


def in_parts_of(tree: Any, other: Any) -> Any:
    """A tree with every optimizer's state in the parts that it has in another tree.

    The parts of a chain depend on `train.clip_norm` and `train.decay`, which a resumed run may
    change. Only Adam's hold numbers, and these are the tree's.
    """
    if is_chain(tree) and is_chain(other):
        own = moments(tree)
        return type(other)(own if is_moments(part) else part for part in other)
    if isinstance(tree, dict) and isinstance(other, dict):
        return {name: in_parts_of(part, other.get(name)) for name, part in tree.items()}
    return tree


def on_host(tree: Any) -> Any:
    """A copy of a tree in this process's memory, which no later step changes.

    All processes must call it: what they share out is brought together, one array at a time, so
    that no device ever holds all of a state that is split.
    """
    return jax.tree.map(_array_on_host, tree)


def _array_on_host(leaf: jax.Array) -> np.ndarray:
    if not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        leaf = replicate(leaf, leaf.sharding.mesh)  # type: ignore[attr-defined]
    host = np.asarray(jax.device_get(leaf))
    return host if host.flags.owndata else host.copy()  # on a CPU it is the device's own memory
