"""The training state: how it is created, and how it is placed on the mesh."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from vaetx_jax.config.defaults import OptimizerSettings
from vaetx_jax.losses.elbo import Objective
from vaetx_jax.models import freeze, text_vae
from vaetx_jax.models.language_model import PARAMS, LanguageModel, Variables
from vaetx_jax.runtime.mesh import LEAST_SPLIT, replicated, split_longest
from vaetx_jax.training.auxiliary import Auxiliary, fresh_auxiliary
from vaetx_jax.training.optimizer import make_optimizer

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
    """Updates done, the model's variables, the optimizer's state and the logging window's sums.

    Frozen parameters are among the variables, and the optimizer's state knows none of them.
    `auxiliary` is what the objective learns beside the model; most objectives learn nothing.
    """

    step: jax.Array
    variables: Variables
    optimizer: Any
    sums: Sums
    auxiliary: Auxiliary = {}  # never changed in place

    @property
    def params(self) -> Any:
        """The variables that are optimised."""
        return self.variables[PARAMS]

    def with_params(self, params: Any) -> "TrainState":
        """The same state with other parameters."""
        return self._replace(variables={**self.variables, PARAMS: params})


def variables_like(model: LanguageModel, mesh: Mesh) -> Variables:
    """Shapes, dtypes and shardings of a model's variables, which are nowhere yet."""
    shapes = jax.eval_shape(functools.partial(text_vae.init, model), jax.random.key(0))
    on_all = replicated(mesh)
    like: Variables = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=on_all), shapes
    )
    return like


def state_shardings(
    model: LanguageModel,
    optimizer: OptimizerSettings,
    mesh: Mesh,
    *,
    shard_state: bool,
    objective: Objective | None = None,
) -> Any:
    """The sharding of each array of the state: a tree like it, or one sharding for all.

    Args:
      shard_state: split the moments of the optimizer and the large tables among the parameters over
        the mesh; the compiler then fetches what a device lacks.
      objective: see `fresh_state`.
    """
    if not shard_state:
        return replicated(mesh)
    make = functools.partial(fresh_state, model, optimizer, objective=objective)
    shapes = jax.eval_shape(make, jax.random.key(0))

    def place(leaf: Any, least: int) -> NamedSharding:
        return split_longest(leaf.shape, mesh, least=least)

    places = jax.tree.map(lambda leaf: replicated(mesh), shapes)
    params = jax.tree.map(lambda leaf: place(leaf, LEAST_TABLE), shapes.params)
    moments = jax.tree.map(lambda leaf: place(leaf, LEAST_SPLIT), shapes.optimizer)
    return places.with_params(params)._replace(optimizer=moments)


def init_state(
    model: LanguageModel,
    optimizer: OptimizerSettings,
    key: jax.Array,
    mesh: Mesh,
    *,
    shard_state: bool = False,
    objective: Objective | None = None,
) -> TrainState:
    """The state before the first step, made on the mesh (every process makes the same)."""
    make = functools.partial(fresh_state, model, optimizer, objective=objective)
    places = state_shardings(model, optimizer, mesh, shard_state=shard_state, objective=objective)
    return jax.jit(make, out_shardings=places)(key)


def fresh_state(
    model: LanguageModel,
    optimizer: OptimizerSettings,
    key: jax.Array,
    *,
    objective: Objective | None = None,
) -> TrainState:
    """The state before the first step, inside a compiled function.

    Args:
      objective: the state has what it learns; None: nothing.
    """
    variables = text_vae.init(model, key)
    trained, _ = freeze.split(variables[PARAMS], model.freeze)
    moments = make_optimizer(optimizer).init(trained)
    auxiliary = fresh_auxiliary(model, objective or Objective(), optimizer)
    return TrainState(jnp.int32(0), variables, moments, no_sums(), auxiliary)


def count_parameters(model: LanguageModel) -> int:
    """All parameters of a model, counted without allocating them."""
    shapes = jax.eval_shape(functools.partial(text_vae.init, model), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes[PARAMS]))


def no_sums() -> Sums:
    """The sums of an empty logging window."""
    return Sums(*(jnp.float32(0.0) for _ in Sums._fields))
