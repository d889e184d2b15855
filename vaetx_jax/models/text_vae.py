"""A text VAE: an encoder, a Gaussian latent and a decoder; and the functions that apply a model.

The functions of the names of `LanguageModel`'s methods apply a model of either kind to its
variables; they are the only callers of `Module.apply`. Variables are linen's: `params`, and any
other collection that a model has, such as running statistics, which training passes update and all
else reads.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaetx_jax.models.bag import STATISTICS
from vaetx_jax.models.channel import Channel
from vaetx_jax.models.language_model import (
    PARAMS,
    ForwardOutput,
    LanguageModel,
    Variables,
    known_inputs,
    token_mask,
)
from vaetx_jax.models.layers import dense
from vaetx_jax.models.output_layer import OutputWeights
from vaetx_jax.models.standardise import Moments, batch_moments, standardise

# What an encoder may be given besides the ids, by its name in a batch: the sentences in its own
# tokens, or its summaries, where they are known.
_ENCODER_INPUTS = {"features": "features_BxE", "encoder_ids": "read_BxR"}


def encoder_inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The encoder's inputs besides the ids of a batch, as arguments of the functions below."""
    return {name: batch[key] for key, name in _ENCODER_INPUTS.items() if key in batch}


class TextVAE(LanguageModel, kw_only=True):
    """p(x|z), q(z|x): an encoder before the decoder, with a Gaussian latent between.

    Attributes:
      encoder: ids [B, T], mask [B, T] -> a summary [B, E].
      latent_dim: width of z.
      encodes_sep: the encoder reads [SEP], too.
      encoder_pad_id: the id of [PAD] among the encoder's own tokens; None: it reads the decoder's.
      latent_output: z, projected, is added to the decoder's output after its dropout. The
        projection starts at zero.
      mean_layer: a linear layer makes the posterior's mean from the summary; false: the summary,
        of width `latent_dim`, is the mean before it is standardised.
      mu_norm, channel_rate, channel_norm: see `ModelSettings`. With either, the mean is
        standardised: by the collection `statistics`, or, for `mu_norm` in training, by the batch.
    """

    encoder: nn.Module
    latent_dim: int
    encodes_sep: bool = False
    encoder_pad_id: int | None = None
    latent_output: bool = False
    mean_layer: bool = True
    mu_norm: float = 0.0
    channel_rate: float = 0.0
    channel_norm: str = "sentence"

    @property
    def is_standardised(self) -> bool:
        """Whether the model has the statistics `mean` and `variance` of its summaries."""
        return bool(self.mu_norm or self.channel_rate)

    def setup(self) -> None:
        super().setup()
        shape = (self.latent_dim,)
        if self.mean_layer:
            self.mu = dense(self.latent_dim)
        if self.is_standardised:
            self.mean = self.variable(STATISTICS, "mean", jnp.zeros, shape)
            self.variance = self.variable(STATISTICS, "variance", jnp.ones, shape)
        if self.channel_rate:
            self.channel = Channel(self.latent_dim, self.channel_rate, self.channel_norm)
        else:
            self.logvar = dense(self.latent_dim)
        if self.mu_norm:
            self.mu_shift = self.param("mu_shift", nn.initializers.zeros, shape)
        if self.latent_output:
            zeros = nn.initializers.zeros
            self.output_projection = nn.Dense(self.dim, use_bias=False, kernel_init=zeros)

    def encode(
        self,
        ids_BxS: jax.Array,
        *,
        features_BxE: jax.Array | None = None,
        read_BxR: jax.Array | None = None,
        deterministic: bool = True,
        weight_B: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """mu and log-variance [B, Z] of q(z|x).

        Args:
          ids_BxS: `[CLS] x1 .. xn [SEP] [PAD]..`; the encoder reads no [SEP] but for `encodes_sep`.
          features_BxE: the encoder's summaries, where they are known; it is then left out.
          read_BxR: the sentences in the encoder's own tokens, as `ids_BxS` in the decoder's; None:
            `ids_BxS` are what it reads.
          weight_B: 1 for a sentence, 0 for filler: `mu_norm` standardises by these sentences, the
            whole batch's; None: by the collection `statistics`.
        """
        summary_BxE = self._summary(ids_BxS, features_BxE, read_BxR, deterministic)
        mean_BxZ = self.mu(summary_BxE) if self.mean_layer else summary_BxE
        if self.channel_rate:
            return self.channel(
                standardise(mean_BxZ, Moments(self.mean.value, self.variance.value))
            )
        if self.mu_norm:
            moments = Moments(self.mean.value, self.variance.value)
            if weight_B is not None:
                moments = batch_moments(mean_BxZ, weight_B)
            mean_BxZ = self.mu_norm * standardise(mean_BxZ, moments) + self.mu_shift[None]
        return mean_BxZ, self.logvar(summary_BxE)

    def summary(
        self,
        ids_BxS: jax.Array,
        features_BxE: jax.Array | None = None,
        read_BxR: jax.Array | None = None,
    ) -> jax.Array:
        """[B, Z], what `statistics` are of: the mean before it is standardised; no dropout."""
        summary_BxE = self._summary(ids_BxS, features_BxE, read_BxR, deterministic=True)
        mean_BxZ: jax.Array = self.mu(summary_BxE) if self.mean_layer else summary_BxE
        return mean_BxZ

    def _summary(
        self,
        ids_BxS: jax.Array,
        features_BxE: jax.Array | None,
        read_BxR: jax.Array | None,
        deterministic: bool,
    ) -> jax.Array:
        if features_BxE is not None:
            return features_BxE
        ids_BxS = ids_BxS if read_BxR is None else read_BxR
        pad_id = self.pad_id if self.encoder_pad_id is None else self.encoder_pad_id
        if self.encodes_sep:
            read_BxT, mask_BxT = ids_BxS, ids_BxS != pad_id
        else:
            read_BxT, mask_BxT = ids_BxS[:, :-1], token_mask(ids_BxS, pad_id)
        summary_BxE = self.encoder(read_BxT, mask_BxT, deterministic=deterministic)
        # The latent is exact whatever the encoder computes in.
        return summary_BxE.astype(jnp.float32)

    def _heard(self, z_BxZ: jax.Array) -> jax.Array:
        """The latent as the decoder gets it: a channel's E[u | z], which damps noisy dimensions."""
        return z_BxZ * self.channel.gains()[None] if self.channel_rate else z_BxZ

    def decode(
        self, ids_BxS: jax.Array, z_BxZ: jax.Array, *, deterministic: bool = True
    ) -> jax.Array:
        """As `LanguageModel.decode`, with the latent's part of the output."""
        z_BxZ = self._heard(z_BxZ)
        h_BxTxD = super().decode(ids_BxS, z_BxZ, deterministic=deterministic)
        if not self.latent_output:
            return h_BxTxD
        return h_BxTxD + self.output_projection(z_BxZ)[:, None, :].astype(h_BxTxD.dtype)

    def start(self, z_BxZ: jax.Array, max_len: int) -> Any:
        """The decoder's cache; with `latent_output`, what is added to each output beside it."""
        z_BxZ = self._heard(z_BxZ)
        cache = super().start(z_BxZ, max_len)
        return (cache, self.output_projection(z_BxZ)) if self.latent_output else cache

    def step(self, ids_B: jax.Array, position: jax.Array, cache: Any) -> tuple[jax.Array, Any]:
        """Logits [B, V] of the token after `ids_B`, and the new cache."""
        if not self.latent_output:
            return super().step(ids_B, position, cache)
        inner, added_BxD = cache
        h_BxD, inner = self.decoder.step(ids_B, position, inner)
        return self._logits(h_BxD + added_BxD.astype(h_BxD.dtype)), (inner, added_BxD)


def init(model: LanguageModel, key: jax.Array) -> Variables:
    """The variables of a model before training, drawn from the streams of `key`."""
    params_key, other_key = jax.random.split(key)
    rngs = {"params": params_key, "dropout": other_key, "latent": other_key}
    return dict(model.init(rngs, jnp.zeros((1, 3), jnp.int32)))


def forward(
    model: LanguageModel,
    variables: Variables,
    ids_BxS: jax.Array,
    weight_B: jax.Array,
    rngs: dict[str, jax.Array],
    *,
    features_BxE: jax.Array | None = None,
    read_BxR: jax.Array | None = None,
    latent: bool = True,
) -> tuple[ForwardOutput, Variables]:
    """A training pass, and the collections other than `params` as it leaves them.

    Args:
      weight_B: 1 for a sentence, 0 for filler.
      rngs: keys of the streams `dropout` and `latent`.
      features_BxE, read_BxR: see `TextVAE.encode`.
      latent: false: a language model's pass, z = 0.
    """
    others = [name for name in variables if name != PARAMS]
    result, updated = model.apply(
        variables,
        ids_BxS,
        weight_B,
        **known_inputs(features_BxE=features_BxE, read_BxR=read_BxR),
        deterministic=False,
        latent=latent,
        rngs=rngs,
        mutable=others,
    )
    return result, dict(updated)


def summary(
    model: TextVAE,
    variables: Variables,
    ids_BxS: jax.Array,
    features_BxE: jax.Array | None = None,
    read_BxR: jax.Array | None = None,
) -> jax.Array:
    """The summaries [B, Z] that a model keeps statistics of: no dropout, not standardised."""
    summary_BxZ: jax.Array = model.apply(  # type: ignore[assignment]
        variables,
        ids_BxS,
        **known_inputs(features_BxE=features_BxE, read_BxR=read_BxR),
        method="summary",
    )
    return summary_BxZ


def encode(
    model: LanguageModel,
    variables: Variables,
    ids_BxS: jax.Array,
    features_BxE: jax.Array | None = None,
    read_BxR: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """mu and log-variance [B, Z] of q(z|x), without dropout; see `TextVAE.encode`."""
    posterior: tuple[jax.Array, jax.Array] = model.apply(  # type: ignore[assignment]
        variables,
        ids_BxS,
        **known_inputs(features_BxE=features_BxE, read_BxR=read_BxR),
        method="encode",
    )
    return posterior


def decode(
    model: LanguageModel, variables: Variables, ids_BxS: jax.Array, z_BxZ: jax.Array
) -> jax.Array:
    """h [B, S - 1, dim], the state that predicts ids[:, 1:], without dropout."""
    h_BxTxD: jax.Array = model.apply(variables, ids_BxS, z_BxZ, method="decode")  # type: ignore[assignment]
    return h_BxTxD


def output(model: LanguageModel, variables: Variables) -> OutputWeights:
    """The output layer's arrays."""
    weights: OutputWeights = model.apply(variables, method="output")  # type: ignore[assignment]
    return weights


def start(model: LanguageModel, variables: Variables, z_BxZ: jax.Array, max_len: int) -> Any:
    """The decoder's cache before the first token, for sentences of at most `max_len` tokens."""
    return model.apply(variables, z_BxZ, max_len, method="start")


def step(
    model: LanguageModel, variables: Variables, ids_B: jax.Array, position: jax.Array, cache: Any
) -> tuple[jax.Array, Any]:
    """Logits [B, V] of the token after `ids_B`, which stands at `position`, and the new cache."""
    logits_BxV, cache = model.apply(variables, ids_B, position, cache, method="step")
    return logits_BxV, cache
