"""Recurrent encoder and decoder (LSTM or GRU), after the published parameter counts.

Inside, arrays are feature-major, [features, time, batch], as recurrent_cell.py wants them; at the
modules' doors they are [batch, time, ...]. Kernels are [gates * hidden, inputs], the gates in
PyTorch's order; each layer and direction has two bias vectors, of the input and of the recurrence,
as cuDNN has them. Kernels are drawn from uniform(+-1/sqrt(fan in)) as in layers.py: for the
recurrent kernel that is PyTorch's rule too, for the input kernel PyTorch takes the hidden size as
fan in, and its biases are random where ours are 0.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaetx_jax.models.dropout import Dropout, keep_mask
from vaetx_jax.models.layers import dense, embedding, transposed_kernel_init
from vaetx_jax.models.recurrent_cell import (
    GATES,
    gru,
    gru_step,
    lstm,
    lstm_step,
    product,
    shut_at_padding,
)

# The state of one layer, arrays [B, hidden]: h and c of an LSTM, h of a GRU.
LayerState = tuple[jax.Array, ...]


class RecurrentLayer(nn.Module):
    """One layer in one direction.

    Attributes:
      cell: `lstm` or `gru`.
      inputs: width of the input.
      hidden: width of the state.
      reverse: from the last step to the first.
      dtype: of the products' operands (None: the parameters'); states and sums are float32.
    """

    cell: str
    inputs: int
    hidden: int
    reverse: bool = False
    dtype: Any = None

    def setup(self) -> None:
        rows = GATES[self.cell] * self.hidden
        self.input_kernel = self.param("input_kernel", transposed_kernel_init, (rows, self.inputs))
        self.recurrent_kernel = self.param(
            "recurrent_kernel", transposed_kernel_init, (rows, self.hidden)
        )
        self.input_bias = self.param("input_bias", nn.initializers.zeros, (rows,))
        self.recurrent_bias = self.param("recurrent_bias", nn.initializers.zeros, (rows,))

    def __call__(
        self, x_DxTxB: jax.Array, start: LayerState, mask_TxB: jax.Array | None = None
    ) -> jax.Array:
        """h [H, T, B] of every step from a start state [B, H].

        With a mask, no input enters where it is false: a state of zero stays zero there.
        """
        x_GxTxB = product(self.input_kernel, x_DxTxB, ((1,), (0,)), self.dtype)
        if mask_TxB is not None:
            x_GxTxB = shut_at_padding(x_GxTxB, mask_TxB, self.cell)
        bias, kernel, h_HxB = self._outer_bias(), self.recurrent_kernel, start[0].T
        if self.cell == "lstm":
            return lstm(x_GxTxB, bias, kernel, h_HxB, start[1].T, self.reverse, self.dtype)
        return gru(x_GxTxB, bias, kernel, self._inner_bias(), h_HxB, self.reverse, self.dtype)

    def step(self, x_BxD: jax.Array, state: LayerState) -> LayerState:
        """The next state; its h equals `__call__`'s at this step."""
        x_GxB = product(self.input_kernel, x_BxD, ((1,), (1,)), self.dtype)
        x_GxB = x_GxB + self._outer_bias()[:, None]
        kernel, h_HxB = self.recurrent_kernel, state[0].T
        if self.cell == "lstm":
            h_HxB, c_HxB, _ = lstm_step(x_GxB, kernel, h_HxB, state[1].T, self.dtype)
            return h_HxB.T, c_HxB.T
        h_HxB, _ = gru_step(x_GxB, kernel, self._inner_bias(), h_HxB, self.dtype)
        return (h_HxB.T,)

    def _outer_bias(self) -> jax.Array:
        """The biases that the whole sequence adds at once."""
        if self.cell == "lstm":
            return self.input_bias + self.recurrent_bias
        outside = jnp.arange(self.recurrent_bias.shape[0]) < 2 * self.hidden
        return self.input_bias + jnp.where(outside, self.recurrent_bias, 0)

    def _inner_bias(self) -> jax.Array:
        """A GRU's recurrent bias of the new gate, which the reset gate multiplies."""
        return self.recurrent_bias[2 * self.hidden :]

    def zeros(self, batch: int) -> LayerState:
        """The start state zero."""
        arrays = 2 if self.cell == "lstm" else 1
        return (jnp.zeros((batch, self.hidden), jnp.float32),) * arrays


def _embedded(table: nn.Embed, ids_BxT: jax.Array) -> jax.Array:
    """[D, T, B]."""
    return table(ids_BxT.T).transpose(2, 0, 1)


class RecurrentEncoder(nn.Module):
    """A sentence to its summary [B, 2 * layers * hidden], by bidirectional layers.

    The summary is the last state h of each layer's forward and backward direction, in that order,
    layer after layer. Padding never reaches it: the forward direction's is that of the sentence's
    last token, and the backward direction starts there.

    Attributes:
      cell: `lstm` or `gru`.
      vocab_size: tokens in the vocabulary.
      embed_dim: width of the token embedding.
      hidden: width of a state.
      layers: bidirectional layers.
      dropout: share of values dropped on embeddings and between layers.
      dtype: of the products' operands (None: the parameters'); states and sums are float32.
      word_dropout: share of the input tokens whose embedding is left out in training.
    """

    cell: str
    vocab_size: int
    embed_dim: int = 128
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.1
    dtype: Any = None
    word_dropout: float = 0.0

    def setup(self) -> None:
        self.embedding = embedding(self.vocab_size, self.embed_dim)
        widths = [self.embed_dim] + [2 * self.hidden] * (self.layers - 1)
        self.forward = [self._layer(width, False) for width in widths]
        self.backward = [self._layer(width, True) for width in widths]
        self.drop = Dropout(self.dropout)

    def _layer(self, width: int, reverse: bool) -> RecurrentLayer:
        return RecurrentLayer(self.cell, width, self.hidden, reverse, self.dtype)

    def __call__(
        self, ids_BxT: jax.Array, mask_BxT: jax.Array, *, deterministic: bool
    ) -> jax.Array:
        """ids and mask [B, T] (true: a token; false only after the last) to [B, E], float32."""
        mask_TxB = mask_BxT.T
        after_TxB = jnp.concatenate([mask_TxB[1:], jnp.zeros_like(mask_TxB[:1])])
        last_TxB = mask_TxB & ~after_TxB
        x_DxTxB = _embedded(self.embedding, ids_BxT)
        if self.word_dropout and not deterministic:
            kept_TxB = keep_mask(self.make_rng("dropout"), self.word_dropout, x_DxTxB.shape[1:])
            x_DxTxB = jnp.where(kept_TxB[None], x_DxTxB, 0)
        summary = []
        for forward, backward in zip(self.forward, self.backward, strict=True):
            x_DxTxB = self.drop(x_DxTxB, deterministic=deterministic)
            zeros = forward.zeros(ids_BxT.shape[0])
            ahead_HxTxB = forward(x_DxTxB, zeros)
            back_HxTxB = backward(x_DxTxB, zeros, mask_TxB)
            summary.append(jnp.sum(jnp.where(last_TxB[None], ahead_HxTxB, 0), axis=1).T)
            summary.append(back_HxTxB[:, 0].T)
            x_DxTxB = jnp.concatenate([ahead_HxTxB, back_HxTxB])
        return jnp.concatenate(summary, axis=1)


class RecurrentDecoder(nn.Module):
    """Tokens so far, and a latent, to the hidden state that predicts the next token.

    z, projected, is the start state h of all layers; c starts at zero. `latent_dim = 0` is the
    language model: all start states are zero and there is no projection.

    Attributes:
      cell: `lstm` or `gru`.
      vocab_size: tokens in the vocabulary.
      embed_dim: width of the token embedding.
      hidden: width of a state and of the output.
      layers: layers.
      dropout: share of values dropped on embeddings and on each layer's output.
      latent_dim: width of z.
      dtype: of the products' operands (None: the parameters'); states and sums are float32.
      word_dropout: share of the input tokens whose embedding is left out in training.
    """

    cell: str
    vocab_size: int
    embed_dim: int = 128
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.1
    latent_dim: int = 0
    dtype: Any = None
    word_dropout: float = 0.0

    def setup(self) -> None:
        self.embedding = embedding(self.vocab_size, self.embed_dim)
        widths = [self.embed_dim] + [self.hidden] * (self.layers - 1)
        self.layer = [
            RecurrentLayer(self.cell, width, self.hidden, dtype=self.dtype) for width in widths
        ]
        if self.latent_dim:
            self.project = dense(self.layers * self.hidden)
        self.drop = Dropout(self.dropout)

    def __call__(self, ids_BxT: jax.Array, z_BxZ: jax.Array, *, deterministic: bool) -> jax.Array:
        """h [B, T, hidden], in `dtype`; position t sees ids up to and with t, and the latent."""
        x_DxTxB = _embedded(self.embedding, ids_BxT)
        if self.word_dropout and not deterministic:
            kept_TxB = keep_mask(self.make_rng("dropout"), self.word_dropout, x_DxTxB.shape[1:])
            x_DxTxB = jnp.where(kept_TxB[None], x_DxTxB, 0)
        x_DxTxB = self.drop(x_DxTxB, deterministic=deterministic)
        for layer, state in zip(self.layer, self.start(z_BxZ, ids_BxT.shape[1]), strict=True):
            x_DxTxB = self.drop(layer(x_DxTxB, state), deterministic=deterministic)
        h_BxTxD = x_DxTxB.transpose(2, 1, 0)
        return h_BxTxD if self.dtype is None else h_BxTxD.astype(self.dtype)

    def start(self, z_BxZ: jax.Array, max_len: int) -> list[LayerState]:
        """The cache before the first token: each layer's state, arrays [B, hidden].

        A state is as large after `max_len` positions as before the first.
        """
        states = [layer.zeros(z_BxZ.shape[0]) for layer in self.layer]
        if self.latent_dim:
            h_BxLH = self.project(z_BxZ).astype(jnp.float32)
            starts = jnp.split(h_BxLH, self.layers, axis=1)
            states = [(h, *state[1:]) for h, state in zip(starts, states, strict=True)]
        return states

    def step(
        self, ids_B: jax.Array, position: jax.Array, cache: list[LayerState]
    ) -> tuple[jax.Array, list[LayerState]]:
        """One position with a cache: h [B, hidden] as `__call__` gives it there, the new cache.

        `position` is part of the protocol; a recurrent state knows no positions.
        """
        x_BxD = self.embedding(ids_B)
        states = []
        for layer, state in zip(self.layer, cache, strict=True):
            state = layer.step(x_BxD, state)
            states.append(state)
            x_BxD = state[0]
        return x_BxD, states
