"""Diagonal Gaussians: the posterior q(z|x) = N(mu, exp(logvar)) and the prior N(0, I).

The functions are pure and used inside compiled steps; the estimators over a whole split are those
of `metrics.latent`.
"""

import math

import jax
import jax.numpy as jnp

LOG_2PI = math.log(2.0 * math.pi)


def kl_to_prior(mu: jax.Array, logvar: jax.Array) -> jax.Array:
    """KL(N(mu, exp(logvar)) || N(0, 1)) of each dimension, nats, the shape of `mu` (Eq. 2)."""
    return 0.5 * (jnp.exp(logvar) + jnp.square(mu) - 1.0 - logvar)


def sample(key: jax.Array, mu: jax.Array, logvar: jax.Array) -> jax.Array:
    """One reparameterised draw z = mu + sigma * eps, the shape of `mu`."""
    return mu + jnp.exp(0.5 * logvar) * jax.random.normal(key, mu.shape, mu.dtype)


def log_density_of_draw(eps: jax.Array, logvar: jax.Array) -> jax.Array:
    """log N(z; mu, exp(logvar)) at z = mu + sigma * eps, summed over the last axis, nats.

    By eps and not by z, since z - mu is mostly rounding where sigma is small beside mu.
    """
    return -0.5 * jnp.sum(jnp.square(eps) + logvar + LOG_2PI, axis=-1)


def log_prior(z: jax.Array) -> jax.Array:
    """log N(z; 0, I), summed over the last axis, nats."""
    return -0.5 * jnp.sum(jnp.square(z) + LOG_2PI, axis=-1)
