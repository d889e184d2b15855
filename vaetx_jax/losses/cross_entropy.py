"""The output loss: cross entropy of a linear layer over the vocabulary, never all logits at once.

With 30,522 tokens the output layer is four fifths of a small model's arithmetic and its logits are
by far its largest array. So the tokens are taken tile by tile; a tile's logits live only as long as
its loss and its gradient are made from them. Positions whose mask is false (padding) are moved
behind the others and never computed: the number of tiles is decided at run time.
"""

import functools

import jax
import jax.numpy as jnp

TILE = 128  # tokens; at V = 30,522 a tile's logits take 16 MB in float32

Pair = tuple[jax.Array, jax.Array]


def weighted_nll(
    h_NxD: jax.Array,
    kernel_VxD: jax.Array,
    bias_V: jax.Array,
    target_N: jax.Array,
    weight_N: jax.Array,
    mask_N: jax.Array,
    *,
    tile: int = TILE,
) -> Pair:
    """The training loss: (sum_n weight_n * nll_n, nll_N), forward and backward in one pass.

    Args:
      h_NxD: hidden states.
      kernel_VxD, bias_V: the output layer.
      target_N: int32, the token to predict at each position.
      weight_N: float32, each position's weight in the sum.
      mask_N: bool, false where there is no token: its nll is 0; it is not computed, but for the
        rest of the last tile, which is, with weight 0 (so keep the hidden states finite).
      tile: tokens computed at a time.

    Returns:
      The weighted sum, differentiable in h, kernel and bias, and the nll of each position in
      nats, through which no gradient flows.
    """
    return _weighted_nll(tile, h_NxD, kernel_VxD, bias_V, target_N, weight_N, mask_N)


def token_nll(
    h_NxD: jax.Array,
    kernel_VxD: jax.Array,
    bias_V: jax.Array,
    target_N: jax.Array,
    mask_N: jax.Array,
    *,
    tile: int = TILE,
) -> jax.Array:
    """-log p(target) of each position in nats, forward only; 0 where the mask is false."""
    tile = min(tile, max(len(target_N), 1))
    tiles = _Tiles(mask_N, tile)
    sorted_h, sorted_target = tiles.sort(h_NxD), tiles.sort(target_N)

    def body(i: jax.Array, nll: jax.Array) -> jax.Array:
        logits = _logits(tiles.cut(sorted_h, i), kernel_VxD, bias_V)
        _, _, log_z = _softmax(logits)
        return tiles.put(nll, log_z - _pick(logits, tiles.cut(sorted_target, i)), i)

    (start,) = _zeros(h_NxD, (tiles.padded,))
    nll = jax.lax.fori_loop(0, tiles.count, body, start)
    return tiles.unsort(nll)


class _Tiles:
    """Positions with a token first, in their order, cut into tiles; and the way back."""

    def __init__(self, mask_N: jax.Array, tile: int):
        n = len(mask_N)
        self.mask = mask_N
        self.tile = tile
        self.padded = -(-n // tile) * tile
        self.real = jnp.sum(mask_N, dtype=jnp.int32)
        self.count = (self.real + (tile - 1)) // tile
        before = jnp.cumsum(mask_N, dtype=jnp.int32)
        behind = self.real + jnp.arange(1, n + 1, dtype=jnp.int32) - before - 1
        self.place = jnp.where(mask_N, before - 1, behind)
        self.order = jnp.argsort(self.place)

    def sort(self, values: jax.Array) -> jax.Array:
        pad = [(0, self.padded - len(values))] + [(0, 0)] * (values.ndim - 1)
        return jnp.pad(values[self.order], pad)

    def unsort(self, values: jax.Array) -> jax.Array:
        back = values[self.place]
        return jnp.where(self.mask.reshape(-1, *(1,) * (back.ndim - 1)), back, 0)

    def cut(self, values: jax.Array, i: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(values, i * self.tile, self.tile)

    def put(self, values: jax.Array, part: jax.Array, i: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(
            values, part.astype(values.dtype), i * self.tile, 0
        )


def _logits(h: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """float32 logits, whatever the precision of the product's operands."""
    product = jnp.dot(h, kernel.astype(h.dtype).T, preferred_element_type=jnp.float32)
    return product + bias.astype(jnp.float32)[None]


def _zeros(like: jax.Array, *shapes: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """float32 zeros that vary over the mesh axes `like` varies over (inside `shard_map`).

    The sum of nothing is a zero of that kind, in every version of JAX supported.
    """
    zero = jnp.sum(like[:0], dtype=jnp.float32)
    return tuple(jnp.broadcast_to(zero, shape) for shape in shapes)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """The exact product, also where it stands for a sum over an axis of a tile.

    On a CPU a plain sum over a tile's first axis takes as long as the two products of its gradient.
    """
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)


def _softmax(logits: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(exp [N, V], total [N, 1], log_z [N]): the softmax is exp / total, its normaliser exp(log_z).

    One exponential a logit serves the loss and its gradient.
    """
    top = jnp.max(logits, axis=1, keepdims=True)
    exp = jnp.exp(logits - top)
    total = _product(exp, jnp.ones((exp.shape[1], 1), exp.dtype))
    return exp, total, (top + jnp.log(total))[:, 0]


def _pick(logits: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.take_along_axis(logits, target[:, None], axis=1)[:, 0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weighted_nll(tile, h, kernel, bias, target, weight, mask):  # type: ignore[no-untyped-def]
    nll = token_nll(h, kernel, bias, target, mask, tile=tile)
    return jnp.sum(nll * weight), nll


def _forward(tile, h, kernel, bias, target, weight, mask):  # type: ignore[no-untyped-def]
    """The loss and, from the same logits, its gradient: the residuals are the gradients."""
    tile = min(tile, max(len(target), 1))
    tiles = _Tiles(mask, tile)
    sorted_h, sorted_target = tiles.sort(h), tiles.sort(target)
    # Rows behind the last token of a tile are padding: weight 0 keeps them out of the gradient.
    sorted_weight = tiles.sort(jnp.where(mask, weight, 0.0))
    kernel_h = kernel.astype(h.dtype)

    def body(i, carry):  # type: ignore[no-untyped-def]
        nll, dh, dkernel, dbias = carry
        h_i, target_i = tiles.cut(sorted_h, i), tiles.cut(sorted_target, i)
        weight_i = tiles.cut(sorted_weight, i)[:, None]
        logits = _logits(h_i, kernel_h, bias)
        exp, total, log_z = _softmax(logits)
        nll = tiles.put(nll, log_z - _pick(logits, target_i), i)
        hot = target_i[:, None] == jnp.arange(logits.shape[1], dtype=jnp.int32)[None, :]
        dlogits = exp * (weight_i / total) - jnp.where(hot, weight_i, 0.0)
        dlogits_h = dlogits.astype(h.dtype)
        dh = tiles.put(dh, jnp.dot(dlogits_h, kernel_h, preferred_element_type=jnp.float32), i)
        dkernel = dkernel + jnp.dot(dlogits_h.T, h_i, preferred_element_type=jnp.float32)
        return nll, dh, dkernel, dbias + _product(jnp.ones((1, tile), dlogits.dtype), dlogits)[0]

    start = _zeros(h, (tiles.padded,), (tiles.padded, h.shape[1]), kernel.shape, bias.shape)
    nll, dh, dkernel, dbias = jax.lax.fori_loop(0, tiles.count, body, start)
    nll = tiles.unsort(nll)
    gradients = (
        tiles.unsort(dh).astype(h.dtype),
        dkernel.astype(kernel.dtype),
        dbias.astype(bias.dtype),
    )
    return (jnp.sum(nll * weight), nll), gradients


def _backward(tile, gradients, cotangents):  # type: ignore[no-untyped-def]
    scale = cotangents[0]
    dh, dkernel, dbias = (g * scale.astype(g.dtype) for g in gradients)
    return dh, dkernel, dbias, None, None, None


_weighted_nll.defvjp(_forward, _backward)
