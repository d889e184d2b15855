"""A language model, and the protocol that it shares with the text VAEs.

It has few functions, so that nothing above knows a model by name: `encode`, `decode`, `start` and
`step` (decoding with a cache), `output` (the output layer), `__call__` (a training pass). A
language model is the case of no latent: its posterior has width 0, its KL is an empty sum. The
functions of `models.text_vae` apply a model of either kind.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaetx_jax.models import gaussian
from vaetx_jax.models.dropout import Dropout
from vaetx_jax.models.output_layer import OutputLayer, OutputWeights

Variables = dict[str, Any]  # collection -> tree of arrays; "params" are what is optimised
PARAMS = "params"


class ForwardOutput(NamedTuple):
    """One training pass over a batch: posterior, draw, and what the output layer gets."""

    mu_BxZ: jax.Array
    logvar_BxZ: jax.Array
    z_BxZ: jax.Array
    h_BxTxD: jax.Array
    output: OutputWeights


def token_mask(ids_BxS: jax.Array, pad_id: int) -> jax.Array:
    """[B, S - 1], true where position t has a token to predict; also what the encoder may see."""
    return ids_BxS[:, 1:] != pad_id


def known_inputs(**inputs: jax.Array | None) -> dict[str, Any]:
    """The inputs that there are: an encoder of one's own may know of none."""
    return {name: array for name, array in inputs.items() if array is not None}


class LanguageModel(nn.Module):
    """A decoder alone, p(x): the protocol with a latent of width 0.

    Attributes:
      decoder: ids [B, T], z [B, 0] -> h [B, T, dim].
      dim: width of the decoder's output.
      vocab_size: tokens in the vocabulary.
      pad_id: the id of [PAD].
      tied: the output layer's kernel is the decoder's token embedding.
      output_dropout: share of the values of h that are dropped in training.
      freeze: the parameters that are not trained: see `models.freeze`.
    """

    decoder: nn.Module
    dim: int
    vocab_size: int
    pad_id: int
    tied: bool = False
    output_dropout: float = 0.0
    freeze: str = "none"

    latent_dim = 0

    def setup(self) -> None:
        self.output_layer = OutputLayer(self.dim, self.vocab_size, self.tied)
        if self.output_dropout:
            self.output_drop = Dropout(self.output_dropout)

    def encode(
        self,
        ids_BxS: jax.Array,
        *,
        features_BxE: jax.Array | None = None,
        read_BxR: jax.Array | None = None,
        deterministic: bool = True,
        weight_B: jax.Array | None = None,
    ) -> tuple[Any, Any]:
        """The empty posterior: mu and log-variance [B, 0]."""
        empty = jnp.zeros((ids_BxS.shape[0], 0), jnp.float32)
        return empty, empty

    def decode(
        self, ids_BxS: jax.Array, z_BxZ: jax.Array, *, deterministic: bool = True
    ) -> jax.Array:
        """h [B, S - 1, dim], the state that predicts ids[:, 1:], from ids[:, :-1] and z."""
        h_BxTxD = self.decoder(ids_BxS[:, :-1], z_BxZ, deterministic=deterministic)
        if self.output_dropout:
            h_BxTxD = self.output_drop(h_BxTxD, deterministic=deterministic)
        return h_BxTxD

    def start(self, z_BxZ: jax.Array, max_len: int) -> Any:
        """The decoder's cache before the first token."""
        return self.decoder.start(z_BxZ, max_len)

    def step(self, ids_B: jax.Array, position: jax.Array, cache: Any) -> tuple[jax.Array, Any]:
        """Logits [B, V] of the token after `ids_B`, and the new cache."""
        h_BxD, cache = self.decoder.step(ids_B, position, cache)
        return self._logits(h_BxD), cache

    def _logits(self, h_BxD: jax.Array) -> jax.Array:
        kernel_VxD, bias_V = self.output()
        # In this order a row alone is a product with a vector as processors have it: twice as fast.
        return jnp.dot(kernel_VxD, h_BxD.astype(jnp.float32).T).T + bias_V[None]

    def output(self) -> OutputWeights:
        """The output layer's arrays."""
        return self.output_layer(self.decoder.token_table() if self.tied else None)

    def __call__(
        self,
        ids_BxS: jax.Array,
        weight_B: jax.Array | None = None,
        features_BxE: jax.Array | None = None,
        read_BxR: jax.Array | None = None,
        *,
        deterministic: bool = False,
        latent: bool = True,
    ) -> ForwardOutput:
        """Encode, draw z (stream `latent`), decode (stream `dropout`).

        Without `latent`, z is 0, and the posterior is the prior, whose KL is 0.
        """
        if latent:
            known = known_inputs(features_BxE=features_BxE, read_BxR=read_BxR)
            mu, logvar = self.encode(
                ids_BxS, **known, deterministic=deterministic, weight_B=weight_B
            )
        else:
            mu = logvar = jnp.zeros((ids_BxS.shape[0], self.latent_dim), jnp.float32)
        drawn = latent and self.latent_dim
        z = gaussian.sample(self.make_rng("latent"), mu, logvar) if drawn else mu
        h = self.decode(ids_BxS, z, deterministic=deterministic)
        return ForwardOutput(mu, logvar, z, h, self.output())
