"""Aggressive training of the encoder: at first the decoder moves only every few steps.

He et al. (2019) train the encoder alone, for as many steps as its bound gains, before each update
of both, until the mutual information stops rising. Here both numbers are fixed, so that a step is a
function of its number alone and a resumed run is the uninterrupted one.
"""

from typing import Any

import jax
import jax.numpy as jnp

from vaetx_jax.losses.annealing import Step
from vaetx_jax.training.phases import ENCODER, WarmUp

DECODER_EVERY = 5  # steps to one of the decoder


def moves_decoder(step: Step, share: float, total_steps: int, warm_up: WarmUp | None) -> jax.Array:
    """Whether the decoder is updated in the step after `step` updates.

    Args:
      share: of the steps (of those after the warm-up) in which it seldom is.
    """
    before = warm_up.steps if warm_up else 0
    into = jnp.asarray(step, jnp.int32) - before
    seldom = (into >= 0) & (into < round(share * (total_steps - before)))
    return ~seldom | (into % DECODER_EVERY == DECODER_EVERY - 1)


def keep_decoder(new: dict[str, Any], old: dict[str, Any], moves: jax.Array) -> dict[str, Any]:
    """The new parameters; with `moves` false, the old ones of all that the encoder has no part in.

    The optimizer's moments go on with every gradient, so an update of the decoder averages over the
    steps before it.
    """

    def kept(name: str) -> Any:
        if name in ENCODER:
            return new[name]
        return jax.tree.map(lambda now, before: jnp.where(moves, now, before), new[name], old[name])

    return {name: kept(name) for name in old}
