"""The training state: how it is created and how it lies on the mesh."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from vaetx_jax.models.text_vae import LanguageModel
from vaetx_jax.runtime.mesh import (
    LEAST_SPLIT,
    replicated,
    split_longest,
)
from vaetx_jax.training.optimizer import Plan, optimizer

LEAST_TABLE = 2**20  # elements of a parameter that `mesh.shard_state` splits: embeddings, heads


class Sums(NamedTuple):
    """Sums since the last logged step; part of the state so that resuming keeps them."""

    loss: jax.Array
    nll: jax.Array
    kl: jax.Array
    sentences: jax.Array
    tokens: jax.Array
    grad_norm: jax.Array
    steps: jax.Array


class TrainState(NamedTuple):
    """Updates done, parameters, the optimizer's state and the sums of the logging window."""

    step: jax.Array
    params: Any
    optimizer: Any
    sums: Sums


def init_params(model: LanguageModel, key: jax.Array) -> Any:
    """The parameters of a model, drawn from the streams of `key`."""
    params_key, other_key = jax.random.split(key)
    rngs = {"params": params_key, "dropout": other_key, "latent": other_key}
    return model.init(rngs, jnp.zeros((1, 3), jnp.int32))["params"]


def params_like(model: LanguageModel, mesh: Mesh) -> Any:
    """Shapes, dtypes and places of a model's parameters, which are nowhere yet."""
    shapes = jax.eval_shape(functools.partial(init_params, model), jax.random.key(0))
    whole = replicated(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), shapes)


def state_places(model: LanguageModel, plan: Plan, mesh: Mesh, *, shard_state: bool) -> Any:
    """Where each array of the state lies: a tree of shardings like it, or one for all.

    Args:
      shard_state: split the moments of the optimizer and the large tables among the parameters over
        the mesh; the compiler then fetches what a device lacks.
    """
    if not shard_state:
        return replicated(mesh)
    shapes = jax.eval_shape(functools.partial(fresh_state, model, plan), jax.random.key(0))

    def place(leaf: Any, least: int) -> NamedSharding:
        return split_longest(leaf.shape, mesh, least=least)

    places = jax.tree.map(lambda leaf: replicated(mesh), shapes)
    return places._replace(
        params=jax.tree.map(lambda leaf: place(leaf, LEAST_TABLE), shapes.params),
        optimizer=jax.tree.map(lambda leaf: place(leaf, LEAST_SPLIT), shapes.optimizer),
    )


def init_state(
    model: LanguageModel, plan: Plan, key: jax.Array, mesh: Mesh, *, shard_state: bool = False
) -> TrainState:
    """The state before the first step, made on the mesh (every process makes the same)."""

    make = functools.partial(fresh_state, model, plan)
    places = state_places(model, plan, mesh, shard_state=shard_state)
    return jax.jit(make, out_shardings=places)(key)


def fresh_state(model: LanguageModel, plan: Plan, key: jax.Array) -> TrainState:
    """The state before the first step, inside a compiled function."""
    params = init_params(model, key)
    return TrainState(jnp.int32(0), params, optimizer(plan).init(params), no_sums())


def count_parameters(model: LanguageModel) -> int:
    """All parameters of a model, counted without allocating them."""
    shapes = jax.eval_shape(functools.partial(init_params, model), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def no_sums() -> Sums:
    """The sums of an empty logging window."""
    return Sums(*(jnp.float32(0.0) for _ in Sums._fields))
