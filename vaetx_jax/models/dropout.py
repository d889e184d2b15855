"""Dropout by a counter hash: a mask costs a few integer operations a value.

The generator of `jax.random` (threefry, twenty rounds a pair of values) took a twentieth of a
training step on a CPU. A mask needs far less: what a value draws is a mix of its position and the
key, so that a mask is the same however it is sharded and whether or not it is under `vmap`.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


def keep_mask(key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
    """bool of `shape`, each true with probability 1 - rate, to 2^-32, independently.

    Positions are counted modulo 2^32; a larger array would repeat itself.
    """
    first, second = jax.random.key_data(key)[0], jax.random.key_data(key)[-1]
    bits = _mix(_mix(_positions(shape) + first) ^ second)
    return bits >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def _positions(shape: tuple[int, ...]) -> jax.Array:
    """Each value's number in row-major order, uint32; sums of `iota`, which any sharding splits."""
    total = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = math.prod(shape[axis + 1 :]) % 2**32
        total = total + lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride)
    return total


def _mix(x: jax.Array) -> jax.Array:
    """MurmurHash3's 32-bit finaliser (Appleby, 2011): one-to-one, each bit of x reaches all."""
    x = (x ^ (x >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> jnp.uint32(16))


class Dropout(nn.Module):
    """Drops a share `rate` of the values in training and scales the rest by 1 / (1 - rate)."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, deterministic: bool) -> jax.Array:
        if deterministic or self.rate == 0:
            return x
        kept = keep_mask(self.make_rng("dropout"), self.rate, x.shape)
        return jnp.where(kept, x * (1.0 / (1.0 - self.rate)), 0)
