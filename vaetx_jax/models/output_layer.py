"""The output layer: from the decoder's states to logits."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaetx_jax.models.layers import transposed_kernel_init


class OutputWeights(NamedTuple):
    """The output layer: logits = h @ kernel_VxD.T + bias_V."""

    kernel_VxD: jax.Array
    bias_V: jax.Array


class OutputLayer(nn.Module):
    """A linear layer d -> V with bias, given away as arrays for the fused loss.

    The kernel is [V, D] as an embedding is: on a CPU the products of the loss run nearly twice as
    fast so. Tied, the layer has a bias alone; its kernel is the decoder's token embedding.
    """

    dim: int
    vocab_size: int
    tied: bool = False

    def setup(self) -> None:
        if not self.tied:
            shape = (self.vocab_size, self.dim)
            self.kernel = self.param("kernel", transposed_kernel_init, shape, jnp.float32)
        self.bias = self.param("bias", nn.initializers.zeros, (self.vocab_size,), jnp.float32)

    def __call__(self, table_VxD: jax.Array | None) -> OutputWeights:
        return OutputWeights(self.kernel if table_VxD is None else table_VxD, self.bias)
