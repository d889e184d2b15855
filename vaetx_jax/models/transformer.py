"""The Transformer encoder and decoder, after the published parameter counts (preset `paper`).

A layer is self-attention, then feed-forward; the decoder's has the latent-decoder attention after
them. `LayerShape` holds all that the presets choose, so that one layer serves both.
"""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaetx_jax.models.attention import KeysValues, LatentAttention, PoolingAttention, SelfAttention
from vaetx_jax.models.dropout import Dropout, keep_mask
from vaetx_jax.models.layers import NORM_EPSILON, dense, embedding, layer_norm, normalised

LayerCache = dict[str, KeysValues]


class DecoderCache(NamedTuple):
    """The state of decoding: the latent added to each input, keys and values of each layer."""

    added_BxD: jax.Array | None
    layers: list[LayerCache]


@dataclasses.dataclass(frozen=True)
class LayerShape:
    """The shape of a Transformer layer.

    Attributes:
      dim: width of the model.
      heads: attention heads; they divide `dim`.
      ff_dim: width inside the feed-forward layer.
      dropout: share of values dropped on embeddings and on each sublayer's output.
      pre_norm: normalise a sublayer's input (and the last output once) instead of each sum.
      learned_norm: layer norms have scale and bias.
      output_projection: attention ends with a linear layer d -> d.
      latent_slots: slots of the latent-decoder attention.
      exact_gelu: GELU by the error function; false: GPT-2's approximation by tanh.
      norm_epsilon: is added to the variance in a layer norm.
      dtype: of activations and of the products' operands (None: the parameters'); softmax and the
        norms' statistics are float32 in any case.
    """

    dim: int
    heads: int
    ff_dim: int
    dropout: float
    pre_norm: bool = False
    learned_norm: bool = False
    output_projection: bool = False
    latent_slots: int = 2
    exact_gelu: bool = True
    norm_epsilon: float = NORM_EPSILON
    dtype: Any = None


class Sublayer(nn.Module):
    """The residual around a sublayer: dropout, sum and layer norm, before or after."""

    shape: LayerShape

    def setup(self) -> None:
        shape = self.shape
        self.norm = layer_norm(learned=shape.learned_norm, epsilon=shape.norm_epsilon)
        self.drop = Dropout(self.shape.dropout)

    def before(self, x: jax.Array) -> jax.Array:
        """The input of the sublayer."""
        return normalised(self.norm, x) if self.shape.pre_norm else x

    def after(self, x: jax.Array, output: jax.Array, *, deterministic: bool) -> jax.Array:
        """The input of the next sublayer, from the residual and the sublayer's output."""
        total = x + self.drop(output, deterministic=deterministic)
        return total if self.shape.pre_norm else normalised(self.norm, total)


class FeedForward(nn.Module):
    """d -> ff_dim -> d with GELU."""

    shape: LayerShape

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = dense(self.shape.ff_dim, dtype=self.shape.dtype, name="inner")(x)
        inner = nn.gelu(inner, approximate=not self.shape.exact_gelu)
        return dense(self.shape.dim, dtype=self.shape.dtype, name="outer")(inner)


class TransformerLayer(nn.Module):
    """Self-attention, feed-forward and, with a latent, the latent-decoder attention.

    With `latent_prefix` the self-attention has one more key and value before the first position,
    each a linear layer of z (the memory of Li et al., 2020).
    """

    shape: LayerShape
    latent_dim: int = 0
    latent_prefix: bool = False

    def setup(self) -> None:
        shape = self.shape
        if self.latent_prefix:
            self.prefix_key = dense(shape.dim, dtype=shape.dtype)
            self.prefix_value = dense(shape.dim, dtype=shape.dtype)
        self.attention = SelfAttention(shape.dim, shape.heads, shape.output_projection, shape.dtype)
        self.attention_residual = Sublayer(shape)
        self.feed_forward = FeedForward(shape)
        self.feed_forward_residual = Sublayer(shape)
        if self.latent_dim:
            self.latent_attention = LatentAttention(
                shape.dim,
                shape.heads,
                self.latent_dim,
                shape.latent_slots,
                shape.output_projection,
                shape.dtype,
            )
            self.latent_residual = Sublayer(shape)

    def memory(self, z_BxZ: jax.Array, projected_BxD: jax.Array) -> KeysValues:
        """This layer's keys and values of a latent."""
        return self.latent_attention.memory(z_BxZ, projected_BxD)

    def prefix(self, z_BxZ: jax.Array) -> KeysValues:
        """The key and value [B, 1, D] of a latent before the first position."""
        return self.prefix_key(z_BxZ)[:, None, :], self.prefix_value(z_BxZ)[:, None, :]

    def __call__(
        self,
        x_BxTxD: jax.Array,
        mask_BxTxT: jax.Array,
        memory: KeysValues | None,
        prefix: KeysValues | None = None,
        *,
        deterministic: bool,
        first: int | None = None,
    ) -> jax.Array:
        """[B, T, D] to [B, T, D], or to the outputs of the `first` positions alone."""
        seen = self.attention_residual.before(x_BxTxD)
        output = self.attention(seen, mask_BxTxT, prefix, first=first)
        x = x_BxTxD[:, :first]
        x = self.attention_residual.after(x, output, deterministic=deterministic)
        return self._rest(x, memory, deterministic=deterministic)

    def step(
        self, x_BxD: jax.Array, position: jax.Array, cache: LayerCache
    ) -> tuple[jax.Array, LayerCache]:
        """One position with a cache; equals `__call__` at that position."""
        seen = self.attention_residual.before(x_BxD)
        # A prefix stands first in the cache.
        place = position + 1 if self.latent_prefix else position
        output, past = self.attention.step(seen, place, cache["past"])
        x = self.attention_residual.after(x_BxD, output, deterministic=True)
        h = self._rest(x[:, None, :], cache.get("memory"), deterministic=True)[:, 0]
        return h, {**cache, "past": past}

    def _rest(self, x: jax.Array, memory: KeysValues | None, *, deterministic: bool) -> jax.Array:
        output = self.feed_forward(self.feed_forward_residual.before(x))
        x = self.feed_forward_residual.after(x, output, deterministic=deterministic)
        if memory is None:
            return x
        output = self.latent_attention(self.latent_residual.before(x), memory)
        return self.latent_residual.after(x, output, deterministic=deterministic)


class Embedding(nn.Module):
    """Token and learned position embeddings, summed, with dropout.

    `word_dropout` is the share of tokens whose token embedding is left out in training (Bowman et
    al., 2016): a decoder that cannot lean on the tokens before must ask the latent.
    """

    vocab_size: int
    positions: int
    shape: LayerShape
    word_dropout: float = 0.0

    def setup(self) -> None:
        self.token = embedding(self.vocab_size, self.shape.dim)
        self.position = embedding(self.positions, self.shape.dim)
        self.drop = Dropout(self.shape.dropout)

    def __call__(self, ids_BxT: jax.Array, *, deterministic: bool) -> jax.Array:
        positions_T = jnp.arange(ids_BxT.shape[1], dtype=jnp.int32)
        token_BxTxD = self.token(ids_BxT)
        if self.word_dropout and not deterministic:
            kept_BxT = keep_mask(self.make_rng("dropout"), self.word_dropout, ids_BxT.shape)
            token_BxTxD = jnp.where(kept_BxT[..., None], token_BxTxD, 0)
        x_BxTxD = token_BxTxD + self.position(positions_T)[None]
        return self.drop(self._cast(x_BxTxD), deterministic=deterministic)

    def at(self, ids_B: jax.Array, position: jax.Array) -> jax.Array:
        """[B, D], the embeddings of one position."""
        return self._cast(self.token(ids_B) + self.position(position)[None])

    def _cast(self, x: jax.Array) -> jax.Array:
        """In the layers' dtype from here on; the tables' gradients are summed in float32."""
        return x if self.shape.dtype is None else x.astype(self.shape.dtype)


class TransformerEncoder(nn.Module):
    """A sentence to its summary [B, D]: by `pooling`, the output of [CLS] (position 0, `cls`),
    the mean over its positions (`mean`), or attention of a learned query over them (`attention`).
    """

    vocab_size: int
    positions: int
    layers: int
    shape: LayerShape
    pooling: str = "cls"
    word_dropout: float = 0.0

    def setup(self) -> None:
        self.embedding = Embedding(self.vocab_size, self.positions, self.shape, self.word_dropout)
        self.layer = [TransformerLayer(self.shape) for _ in range(self.layers)]
        if self.shape.pre_norm:
            self.last_norm = layer_norm(
                learned=self.shape.learned_norm, epsilon=self.shape.norm_epsilon
            )
        if self.pooling == "attention":
            self.pool = PoolingAttention(self.shape.dim, self.shape.heads, self.shape.dtype)

    def __call__(
        self, ids_BxT: jax.Array, mask_BxT: jax.Array, *, deterministic: bool
    ) -> jax.Array:
        x = self.embedding(ids_BxT, deterministic=deterministic)
        # Of the last layer, [CLS] alone is read; in training, dropout is drawn for all positions.
        alone = self.pooling == "cls" and deterministic
        for i, layer in enumerate(self.layer, start=1):
            first = 1 if alone and i == self.layers else None
            x = layer(x, mask_BxT[:, None, :], None, deterministic=deterministic, first=first)
        if self.shape.pre_norm:
            x = normalised(self.last_norm, x)
        if self.pooling == "attention":
            return self.pool(x, mask_BxT)
        if self.pooling == "mean":
            count_Bx1 = jnp.sum(mask_BxT, axis=1, dtype=jnp.float32)[:, None]
            seen_BxTxD = jnp.where(mask_BxT[..., None], x, 0)
            return jnp.sum(seen_BxTxD, axis=1, dtype=jnp.float32) / jnp.maximum(count_Bx1, 1)
        return x[:, 0]


class TransformerDecoder(nn.Module):
    """Tokens so far, and a latent, to the hidden state that predicts the next token.

    `latent_dim = 0` is the language model: no latent-decoder attention and no projection of z.
    A latent enters by the latent-decoder attention of each layer (`latent_attention`), as z
    projected and added to every input embedding (`latent_input`), as a key and value of each
    layer's self-attention before the first position (`latent_prefix`), by several, or not at all.
    """

    vocab_size: int
    positions: int
    layers: int
    shape: LayerShape
    latent_dim: int
    latent_attention: bool = True
    latent_input: bool = False
    word_dropout: float = 0.0
    latent_prefix: bool = False

    def setup(self) -> None:
        self.embedding = Embedding(self.vocab_size, self.positions, self.shape, self.word_dropout)
        attended = self.latent_dim if self.latent_attention else 0
        self.layer = [
            TransformerLayer(self.shape, attended, self.latent_prefix) for _ in range(self.layers)
        ]
        if self.latent_dim and (self.latent_attention or self.latent_input):
            self.project = dense(self.shape.dim, dtype=self.shape.dtype)
        if self.shape.pre_norm:
            self.last_norm = layer_norm(
                learned=self.shape.learned_norm, epsilon=self.shape.norm_epsilon
            )

    def _latent(self, z_BxZ: jax.Array) -> tuple[jax.Array | None, list[KeysValues | None]]:
        """The vector that is added to every input [B, D], and each layer's keys and values."""
        memories: list[KeysValues | None] = [None] * self.layers
        if not self.latent_dim or not (self.latent_attention or self.latent_input):
            return None, memories
        projected_BxD = self.project(z_BxZ)
        if self.latent_attention:
            memories = [layer.memory(z_BxZ, projected_BxD) for layer in self.layer]
        return (projected_BxD if self.latent_input else None), memories

    def _prefixes(self, z_BxZ: jax.Array) -> list[KeysValues | None]:
        """Each layer's key and value of the latent before the first position."""
        return [layer.prefix(z_BxZ) if self.latent_prefix else None for layer in self.layer]

    def __call__(self, ids_BxT: jax.Array, z_BxZ: jax.Array, *, deterministic: bool) -> jax.Array:
        """h [B, T, D]; position t sees ids up to and with t, and the latent."""
        x = self.embedding(ids_BxT, deterministic=deterministic)
        causal_1xTxT = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))[None]
        added_BxD, memories = self._latent(z_BxZ)
        if added_BxD is not None:
            x = x + added_BxD[:, None, :]
        for layer, memory, prefix in zip(self.layer, memories, self._prefixes(z_BxZ), strict=True):
            x = layer(x, causal_1xTxT, memory, prefix, deterministic=deterministic)
        return normalised(self.last_norm, x) if self.shape.pre_norm else x

    def token_table(self) -> jax.Array:
        """The token embedding [V, D]."""
        return self.embedding.token.embedding

    def start(self, z_BxZ: jax.Array, max_len: int) -> DecoderCache:
        """The cache before the first token, for up to `max_len` positions."""
        dtype = z_BxZ.dtype if self.shape.dtype is None else self.shape.dtype
        empty = jnp.zeros((z_BxZ.shape[0], max_len, self.shape.dim), dtype)
        added_BxD, memories = self._latent(z_BxZ)
        layers: list[LayerCache] = [
            {"past": (empty, empty) if prefix is None else _behind(prefix, empty)}
            for prefix in self._prefixes(z_BxZ)
        ]
        for cache, memory in zip(layers, memories, strict=True):
            if memory is not None:
                cache["memory"] = memory
        return DecoderCache(added_BxD, layers)

    def step(
        self, ids_B: jax.Array, position: jax.Array, cache: DecoderCache
    ) -> tuple[jax.Array, DecoderCache]:
        """One position with a cache: h [B, D] as `__call__` gives it there, and the new cache."""
        x = self.embedding.at(ids_B, position)
        if cache.added_BxD is not None:
            x = x + cache.added_BxD
        layers = []
        for layer, layer_cache in zip(self.layer, cache.layers, strict=True):
            x, layer_cache = layer.step(x, position, layer_cache)
            layers.append(layer_cache)
        h_BxD = normalised(self.last_norm, x) if self.shape.pre_norm else x
        return h_BxD, DecoderCache(cache.added_BxD, layers)


def _behind(prefix: KeysValues, empty_BxSxD: jax.Array) -> KeysValues:
    """A cache [B, 1 + S, D] that begins with a prefix."""
    key, value = (
        jnp.concatenate([first.astype(empty_BxSxD.dtype), empty_BxSxD], axis=1) for first in prefix
    )
    return key, value
