"""A rate to reach: two ways to keep the KL of a batch at a target, in nats per sentence.

Free bits put a floor under each dimension; these leave it to the model how the rate is spread. Both
are terms of the loss alone, and neither changes the KL that is reported.
"""

import jax
import jax.numpy as jnp

RATE_MODES = ("hinge", "lagrange")
STEP_SIZE = (
    0.01  # of the multiplier, per relative error of the rate: 0 to 1 in 100 steps without KL
)


def hinge(kl: jax.Array, target: float) -> jax.Array:
    """max(kl, target): below the target the KL costs nothing and has no gradient.

    Free bits over the whole latent (Kingma et al., 2016, with one group of all dimensions).
    """
    return jnp.maximum(kl, target)


def penalty(kl: jax.Array, target: float, multiplier: jax.Array) -> jax.Array:
    """multiplier * (target - kl), the Lagrangian's term for the constraint kl >= target.

    The minimum desired rate (Pelsmaeker and Aziz, 2020). No gradient reaches the multiplier, which
    `updated_multiplier` moves. Above 1 it outweighs the KL of the ELBO, and the rate is pushed up.
    """
    return jax.lax.stop_gradient(multiplier) * (target - kl)


def updated_multiplier(multiplier: jax.Array, kl: jax.Array, target: float) -> jax.Array:
    """The multiplier after a step: max(0, multiplier + `STEP_SIZE` * (target - kl) / target).

    A step of gradient ascent on the Lagrangian, whose size does not depend on the target.
    """
    return jnp.maximum(multiplier + STEP_SIZE * (target - kl) / target, 0.0)
