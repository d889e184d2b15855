"""State that an objective learns besides the model: a rate's multiplier, and a bag-of-words layer.

It is saved and resumed with the training state. No evaluation, export or other run reads it.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from vaetx_jax.config.defaults import OptimizerSettings
from vaetx_jax.losses import target_rate
from vaetx_jax.losses.bag_of_words import BagWeights, fresh_bag
from vaetx_jax.losses.elbo import Objective
from vaetx_jax.models.language_model import LanguageModel
from vaetx_jax.training.optimizer import make_optimizer

if TYPE_CHECKING:
    import optax

MULTIPLIER, BAG, BAG_MOMENTS = "multiplier", "bag_of_words", "bag_of_words_moments"

Auxiliary = dict[str, Any]  # some of the three; empty for the objectives that need none


class Learned(NamedTuple):
    """The inputs of an update of the auxiliary state: the bag's gradient, the batch's mean KL."""

    bag_gradient: BagWeights | None
    kl: jax.Array


def fresh_auxiliary(
    model: LanguageModel, objective: Objective, optimizer: OptimizerSettings
) -> Auxiliary:
    """The auxiliary state before the first step; a language model needs none."""
    state: Auxiliary = {}
    if not model.latent_dim:
        return state
    if objective.target_rate and objective.rate_mode == "lagrange":
        state[MULTIPLIER] = jnp.float32(0.0)
    if objective.bow:
        state[BAG] = fresh_bag(model.latent_dim, model.vocab_size)
        state[BAG_MOMENTS] = _adam(optimizer).init(state[BAG])
    return state


def updated_auxiliary(
    state: Auxiliary,
    learned: Learned,
    objective: Objective,
    optimizer: OptimizerSettings,
    rate: jax.Array,
) -> Auxiliary:
    """The auxiliary state after a step.

    Args:
      rate: the learning rate, which the bag's layer has, too.
    """
    new = dict(state)
    if MULTIPLIER in state:
        new[MULTIPLIER] = target_rate.updated_multiplier(
            state[MULTIPLIER], learned.kl, objective.target_rate
        )
    if BAG in state:
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to an int32
            updates, new[BAG_MOMENTS] = _adam(optimizer).update(
                learned.bag_gradient, state[BAG_MOMENTS], state[BAG]
            )
        new[BAG] = jax.tree.map(lambda p, u: p - rate * u, state[BAG], updates)
    return new


def _adam(optimizer: OptimizerSettings) -> "optax.GradientTransformation":
    """The run's optimizer without decay and clipping, which are the model's."""
    return make_optimizer(dataclasses.replace(optimizer, weight_decay=0.0, clip_norm=0.0))
