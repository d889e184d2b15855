"""Summaries with mean 0 and variance 1 in each dimension."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

LEAST_VARIANCE = 1e-8  # is added to a variance, so that a constant dimension stays finite


class Moments(NamedTuple):
    """Mean and variance of each latent dimension's summaries."""

    mean_Z: jax.Array
    variance_Z: jax.Array


def batch_moments(x_BxZ: jax.Array, weight_B: jax.Array) -> Moments:
    """The moments of the rows whose weight is above 0; of the global batch under a mesh."""
    real_B = (weight_B > 0).astype(jnp.float32)
    share_Bx1 = (real_B / jnp.maximum(jnp.sum(real_B), 1.0))[:, None]
    mean_Z = jnp.sum(share_Bx1 * x_BxZ, axis=0)
    return Moments(mean_Z, jnp.sum(share_Bx1 * jnp.square(x_BxZ - mean_Z[None]), axis=0))


def standardise(x_BxZ: jax.Array, moments: Moments) -> jax.Array:
    """(x - mean) / deviation."""
    deviation_Z = jnp.sqrt(moments.variance_Z + LEAST_VARIANCE)
    return (x_BxZ - moments.mean_Z[None]) / deviation_Z[None]
