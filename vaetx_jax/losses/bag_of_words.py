"""The bag-of-words loss: z alone has to predict a sentence's tokens, whatever their order.

Its layer belongs to the objective and not to the model: it is trained and saved with the run, but
no evaluation, export or parameter count has it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class BagWeights(NamedTuple):
    """The layer: logits = z @ kernel_ZxV + bias_V."""

    kernel_ZxV: jax.Array
    bias_V: jax.Array


def fresh_bag(latent_dim: int, vocab_size: int) -> BagWeights:
    """The layer before training, at zero: softmax regression needs no random start."""
    kernel = jnp.zeros((latent_dim, vocab_size), jnp.float32)
    return BagWeights(kernel, jnp.zeros((vocab_size,), jnp.float32))


def bag_of_words_nll(
    z_BxZ: jax.Array, weights: BagWeights, target_BxT: jax.Array, mask_BxT: jax.Array
) -> jax.Array:
    """-sum_t log softmax(z @ kernel + bias)[x_t] of each sentence, nats, [B] (Zhao et al., 2017).

    One row of logits serves all positions of a sentence: the largest array is [B, V].

    Args:
      target_BxT: tokens, the end of the sentence among them.
      mask_BxT: false where there is no token.
    """
    kernel_ZxV, bias_V = weights
    logits_BxV = jnp.dot(z_BxZ, kernel_ZxV) + bias_V[None]
    log_z_B = jax.nn.logsumexp(logits_BxV, axis=1)
    picked_BxT = jnp.take_along_axis(logits_BxV, target_BxT, axis=1)
    return jnp.sum(jnp.where(mask_BxT, log_z_B[:, None] - picked_BxT, 0.0), axis=1)
