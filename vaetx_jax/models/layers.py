"""The small parts every model is made of: dense layers, embeddings and layer norms as set here.

Initialisation is part of a model (and of a remedy against collapse): kernels are drawn from
uniform(+-1/sqrt(fan in)) as PyTorch's Linear has them, embeddings from normal(0.1), biases are 0.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

NORM_EPSILON = 1e-5

kernel_init = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")
# The same for a kernel kept as [out, in].
transposed_kernel_init = nn.initializers.variance_scaling(
    1.0 / 3.0, "fan_in", "uniform", in_axis=-1, out_axis=-2
)
embedding_init = nn.initializers.normal(0.1)


def dense(
    features: int, *, use_bias: bool = True, dtype: Any = None, name: str | None = None
) -> nn.Dense:
    """A linear layer with the kernel initialisation above, computed in `dtype` (None: as it is)."""
    return nn.Dense(features, use_bias=use_bias, kernel_init=kernel_init, dtype=dtype, name=name)


def embedding(rows: int, features: int) -> nn.Embed:
    """A lookup table with the embedding initialisation above."""
    return nn.Embed(rows, features, embedding_init=embedding_init)


def layer_norm(*, learned: bool, epsilon: float = NORM_EPSILON) -> nn.LayerNorm:
    """A layer norm over the last axis, with or without learned scale and bias."""
    return nn.LayerNorm(epsilon=epsilon, use_scale=learned, use_bias=learned)


def normalised(norm: nn.LayerNorm, x: jax.Array) -> jax.Array:
    """The layer norm of x, computed in float32, in the dtype of x."""
    return norm(x.astype(jnp.float32)).astype(x.dtype)
