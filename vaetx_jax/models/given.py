"""A stand-in for an encoder: each sentence's vector is given, from any model of any library."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaetx_jax.errors import UserError


class GivenEncoder(nn.Module):
    """Stands where an encoder would; what it would compute comes with the batch, as `features`.

    Attributes:
      dim: width of the vectors.
    """

    dim: int

    def __call__(
        self, ids_BxT: jax.Array, mask_BxT: jax.Array, *, deterministic: bool
    ) -> jax.Array:
        """Zeros [B, dim] to initialise the layers behind it.

        Raises:
          UserError: it is asked to encode sentences.
        """
        if not self.is_initializing():
            raise UserError(
                "this model reads vectors that are given for each sentence (data.vectors) and "
                "cannot encode text; encode_vectors and decode_vectors take such vectors"
            )
        return jnp.zeros((ids_BxT.shape[0], self.dim), jnp.float32)
