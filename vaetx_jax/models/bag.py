"""A bag-of-words encoder: a sentence's summary is the weighted sum of its tokens' vectors.

Its start may be latent semantic analysis (`training.starts`), and it generalises where a
Transformer encoder memorises the sentences of a small corpus.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaetx_jax.models.dropout import keep_mask
from vaetx_jax.models.layers import embedding

STATISTICS = "statistics"  # the collection of constants and running statistics: never optimised


class BagEncoder(nn.Module):
    """A sentence to its summary [B, dim]: sum of its tokens' vectors / length of their weights.

    The length is the L2 norm of the tokens' weights, sqrt(sum of w^2), so that long sentences are
    no larger than short ones. The weights are a constant of the collection `statistics`, 1 unless a
    start sets others; the vectors hold them already. [CLS] is left out.

    Attributes:
      vocab_size: tokens.
      dim: width of the vectors and of the summary.
      word_dropout: share of tokens left out in training. The others stand in for them: the sum is
        scaled by tokens / tokens kept, so that its mean is that of the whole sentence.
    """

    vocab_size: int
    dim: int
    word_dropout: float = 0.0

    def setup(self) -> None:
        self.embedding = embedding(self.vocab_size, self.dim)
        self.weight = self.variable(STATISTICS, "weight", jnp.ones, (self.vocab_size,))

    def __call__(
        self, ids_BxT: jax.Array, mask_BxT: jax.Array, *, deterministic: bool
    ) -> jax.Array:
        """ids and mask [B, T] (true: [CLS] or a token) to [B, dim], float32."""
        share_BxT = mask_BxT.at[:, 0].set(False).astype(jnp.float32)
        squares_BxT = share_BxT * jnp.square(self.weight.value[ids_BxT])
        length_Bx1 = jnp.sqrt(jnp.maximum(jnp.sum(squares_BxT, axis=1, keepdims=True), 1e-12))
        if self.word_dropout and not deterministic:
            kept_BxT = keep_mask(self.make_rng("dropout"), self.word_dropout, ids_BxT.shape)
            tokens_Bx1 = jnp.sum(share_BxT, axis=1, keepdims=True)
            share_BxT = share_BxT * kept_BxT.astype(jnp.float32)
            left_Bx1 = jnp.sum(share_BxT, axis=1, keepdims=True)
            share_BxT = share_BxT * (tokens_Bx1 / jnp.maximum(left_Bx1, 1.0))
        sum_BxD = jnp.einsum("bt,btd->bd", share_BxT, self.embedding(ids_BxT))
        return sum_BxD / length_Bx1
