"""Multi-head attention: over a sequence, over a cache of it, and over a latent's slots.

One product and one softmax serve all three (`attend`). Q, K and V are linear layers d -> d with
bias; the paper's model has no output projection, so that is a field.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaetx_jax.models.layers import dense, kernel_init

KeysValues = tuple[jax.Array, jax.Array]


def attend(
    q_BxTxD: jax.Array,
    k_BxSxD: jax.Array,
    v_BxSxD: jax.Array,
    mask_BxTxS: jax.Array | None,
    *,
    heads: int,
) -> jax.Array:
    """softmax(Q K' / sqrt(d_k)) V of each head, heads side by side (Eqs. 5 and 6): [B, T, D].

    Where the mask is false a key is not seen; a query that sees no key gets the mean of all
    values (its row is never used). The softmax is in float32 whatever the operands are.
    """
    q, k, v = (x.reshape(*x.shape[:-1], heads, -1) for x in (q_BxTxD, k_BxSxD, v_BxSxD))
    scores = jnp.einsum("bthc,bshc->bhts", q, k, preferred_element_type=jnp.float32)
    scores = scores * (q.shape[-1] ** -0.5)
    if mask_BxTxS is not None:
        scores = jnp.where(mask_BxTxS[:, None], scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    mixed = jnp.einsum("bhts,bshc->bthc", weights, v)
    return mixed.reshape(q_BxTxD.shape)


class SelfAttention(nn.Module):
    """Attention of a sequence to itself."""

    dim: int
    heads: int
    output_projection: bool
    dtype: Any = None

    def setup(self) -> None:
        self.query = dense(self.dim, dtype=self.dtype)
        self.key = dense(self.dim, dtype=self.dtype)
        self.value = dense(self.dim, dtype=self.dtype)
        if self.output_projection:
            self.output = dense(self.dim, dtype=self.dtype)

    def __call__(
        self,
        x_BxTxD: jax.Array,
        mask_BxTxT: jax.Array,
        prefix: KeysValues | None = None,
        *,
        first: int | None = None,
    ) -> jax.Array:
        """[B, T, D]; position t sees position s where mask[:, t, s].

        Args:
          prefix: one more key and value [B, 1, D] before the first position, seen by all.
          first: how many outputs are wanted, those of the first positions; None: all.
        """
        keys, values = self.key(x_BxTxD), self.value(x_BxTxD)
        query, mask = self.query(x_BxTxD[:, :first]), mask_BxTxT[:, :first]
        if prefix is not None:
            keys, values = (
                jnp.concatenate([before, rest], axis=1)
                for before, rest in zip(prefix, (keys, values), strict=True)
            )
            mask = jnp.pad(mask, ((0, 0), (0, 0), (1, 0)), constant_values=True)
        mixed = attend(query, keys, values, mask, heads=self.heads)
        return self.output(mixed) if self.output_projection else mixed

    def step(
        self, x_BxD: jax.Array, position: jax.Array, cache: KeysValues
    ) -> tuple[jax.Array, KeysValues]:
        """The output at `position` of the cache, given keys and values [B, S, D] of those before.

        Returns the output [B, D] and the cache with this position's key and value in it.
        """
        x_Bx1xD = x_BxD[:, None, :]
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=1)
            for old, new in zip(cache, (self.key(x_Bx1xD), self.value(x_Bx1xD)), strict=True)
        )
        seen_1x1xS = (jnp.arange(keys.shape[1], dtype=jnp.int32) <= position)[None, None, :]
        mixed = attend(self.query(x_Bx1xD), keys, values, seen_1x1xS, heads=self.heads)[:, 0]
        return (self.output(mixed) if self.output_projection else mixed), (keys, values)


class LatentAttention(nn.Module):
    """The latent-decoder attention: a query of the decoder over the slots of one latent.

    Slot 0 has its key and value from the latent as projected into the model's width, as the
    paper's figure shows. With this slot alone a softmax would always be 1 and the query dead
    weight; the published parameter counts hold 2 * latent * d more weights a layer, without bias,
    read here as further slots, their keys and values straight from z. The query chooses.
    """

    dim: int
    heads: int
    latent_dim: int
    slots: int
    output_projection: bool
    dtype: Any = None

    def setup(self) -> None:
        self.query = dense(self.dim, dtype=self.dtype)
        self.key = dense(self.dim, dtype=self.dtype)
        self.value = dense(self.dim, dtype=self.dtype)
        shape = (self.latent_dim, (self.slots - 1) * self.dim)
        if self.slots > 1:
            self.slot_key = self.param("slot_key", kernel_init, shape, jnp.float32)
            self.slot_value = self.param("slot_value", kernel_init, shape, jnp.float32)
        if self.output_projection:
            self.output = dense(self.dim, dtype=self.dtype)

    def memory(self, z_BxZ: jax.Array, projected_BxD: jax.Array) -> KeysValues:
        """Keys and values [B, slots, D] of a latent; the same at every position."""
        projected_Bx1xD = projected_BxD[:, None, :]
        keys, values = self.key(projected_Bx1xD), self.value(projected_Bx1xD)
        if self.slots == 1:
            return keys, values
        more = (z_BxZ.shape[0], self.slots - 1, self.dim)
        z_BxZ = z_BxZ.astype(keys.dtype)
        more_keys = jnp.dot(z_BxZ, self.slot_key.astype(keys.dtype)).reshape(more)
        more_values = jnp.dot(z_BxZ, self.slot_value.astype(keys.dtype)).reshape(more)
        return (
            jnp.concatenate([keys, more_keys], axis=1),
            jnp.concatenate([values, more_values], axis=1),
        )

    def __call__(self, x_BxTxD: jax.Array, memory: KeysValues) -> jax.Array:
        """[B, T, D] from the queries of x over the slots."""
        mixed = attend(self.query(x_BxTxD), *memory, None, heads=self.heads)
        return self.output(mixed) if self.output_projection else mixed


class PoolingAttention(nn.Module):
    """A learned query over a sentence: its summary [B, D], of all positions and not of one."""

    dim: int
    heads: int
    dtype: Any = None

    def setup(self) -> None:
        self.query = self.param("query", kernel_init, (1, self.dim), jnp.float32)
        self.key = dense(self.dim, dtype=self.dtype)
        self.value = dense(self.dim, dtype=self.dtype)

    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array) -> jax.Array:
        query = jnp.broadcast_to(self.query.astype(x_BxTxD.dtype), (x_BxTxD.shape[0], 1, self.dim))
        keys, values = self.key(x_BxTxD), self.value(x_BxTxD)
        return attend(query, keys, values, mask_BxT[:, None, :], heads=self.heads)[:, 0]
