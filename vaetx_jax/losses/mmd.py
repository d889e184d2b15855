"""The maximum mean discrepancy (MMD) between a batch's latents and the prior."""

import jax
import jax.numpy as jnp

# Scales of the kernel, summed: one that fits is among them, whatever the spread of the latents.
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def kernel(a_AxZ: jax.Array, b_BxZ: jax.Array) -> jax.Array:
    """sum_s C_s / (C_s + |a - b|^2) with C_s = 2 Z s, [A, B]: inverse multiquadratics.

    Those of the Wasserstein autoencoder (Tolstikhin et al., 2018); 2 Z is the expected squared
    distance of two draws from the prior.
    """
    squares_A, squares_B = jnp.sum(jnp.square(a_AxZ), axis=1), jnp.sum(jnp.square(b_BxZ), axis=1)
    products_AxB = jnp.dot(a_AxZ, b_BxZ.T, precision=jax.lax.Precision.HIGHEST)
    distance_AxB = jnp.maximum(squares_A[:, None] + squares_B[None] - 2.0 * products_AxB, 0.0)
    width = 2.0 * a_AxZ.shape[1]
    terms = [width * scale / (width * scale + distance_AxB) for scale in SCALES]
    return jnp.sum(jnp.stack(terms), axis=0)


def mmd(z_BxZ: jax.Array, prior_BxZ: jax.Array, weight_B: jax.Array) -> jax.Array:
    """The unbiased estimate of MMD^2 between the latents and draws from the prior (Gretton, 2012).

    It is 0 on average where the latents have the prior's distribution, so it can be negative. A
    single sentence has no such estimate: it is 0.

    Args:
      z_BxZ: one draw from each sentence's posterior.
      prior_BxZ: as many draws from the prior.
      weight_B: 1 for a sentence, 0 for filler, whose row counts in neither sample.
    """
    count = jnp.sum(weight_B)
    pairs_BxB = weight_B[:, None] * weight_B[None]
    others_BxB = pairs_BxB * (1.0 - jnp.eye(len(weight_B), dtype=jnp.float32))
    within = (kernel(z_BxZ, z_BxZ) + kernel(prior_BxZ, prior_BxZ)) * others_BxB
    between = kernel(z_BxZ, prior_BxZ) * pairs_BxB
    mean_within = jnp.sum(within) / jnp.maximum(count * (count - 1.0), 1.0)
    mean_between = jnp.sum(between) / jnp.maximum(jnp.square(count), 1.0)
    return jnp.where(count > 1.0, mean_within - 2.0 * mean_between, 0.0)
