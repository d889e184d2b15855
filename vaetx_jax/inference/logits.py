"""Logits processors: forbidden tokens, top-k, top-p."""

import dataclasses

import jax
import jax.numpy as jnp

_DRAWN_TOGETHER = 8  # rows


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """The ids that a decoder treats specially: [PAD], [CLS] and [SEP]."""

    pad: int
    cls: int
    sep: int


def mask_forbidden(
    logits_BxV: jax.Array,
    ids_BxL: jax.Array,
    position: jax.Array,
    *,
    special: SpecialIds,
    no_repeat: int,
) -> jax.Array:
    """The logits with forbidden tokens at minus infinity: [PAD], [CLS], repetitions.

    Args:
      ids_BxL: the tokens so far, before `position`.
      no_repeat: the size of an n-gram that may not be repeated; 0: no limit.
    """
    tokens_V = jnp.arange(logits_BxV.shape[-1], dtype=jnp.int32)
    never_V = (tokens_V == special.pad) | (tokens_V == special.cls)
    logits_BxV = jnp.where(never_V[None], -jnp.inf, logits_BxV)
    if not no_repeat:
        return logits_BxV
    banned_BxV = jax.vmap(_completing, in_axes=(0, None, None, None))(
        ids_BxL, position, no_repeat, logits_BxV.shape[-1]
    )
    # [SEP] is always allowed, so that something is.
    banned_BxV = banned_BxV & (tokens_V != special.sep)[None]
    return jnp.where(banned_BxV, -jnp.inf, logits_BxV)


def _completing(ids_L: jax.Array, position: jax.Array, n: int, vocab_size: int) -> jax.Array:
    """[V], true for a token that would complete an n-gram for the second time."""
    length = ids_L.shape[0]
    starts_L = jnp.arange(length, dtype=jnp.int32)
    same_L = starts_L + n <= position  # n-grams that are complete
    for back in range(min(n, length) - 1):
        recent = ids_L[jnp.clip(position - (n - 1) + back, 0, length - 1)]
        same_L = same_L & (jnp.roll(ids_L, -back) == recent)
    last_L = jnp.roll(ids_L, -(n - 1))
    where_L = jnp.where(same_L, last_L, vocab_size)
    return jnp.zeros((vocab_size,), bool).at[where_L].set(True, mode="drop")


def keep_top_k(logits_BxV: jax.Array, k: int) -> jax.Array:
    """The logits of the k most probable tokens (and of those equal to the last), else -inf.

    k = 0, and a k of V or more, keep all.
    """
    if not 0 < k < logits_BxV.shape[-1]:
        return logits_BxV
    least_Bx1 = jax.lax.top_k(logits_BxV, k)[0][:, -1:]
    return jnp.where(logits_BxV >= least_Bx1, logits_BxV, -jnp.inf)


def keep_top_p(logits_BxV: jax.Array, p: jax.Array) -> jax.Array:
    """The logits of the fewest most probable tokens whose probabilities sum to at least p, else
    -inf (Holtzman et al., 2020); tokens as probable as the last of them are kept, too.

    The threshold is found by bisection over the bit patterns of the probabilities, which for
    floats above 0 are ordered as the floats are: exact, and faster than a sort of the vocabulary.
    """
    prob_BxV = jax.nn.softmax(logits_BxV.astype(jnp.float32), axis=-1)
    bits_BxV = jax.lax.bitcast_convert_type(prob_BxV, jnp.int32)

    def halve(_: jax.Array, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low_B, high_B = ends  # low is low enough, high is not
        middle_B = low_B + (high_B - low_B) // 2
        above_B = jnp.sum(jnp.where(bits_BxV >= middle_B[:, None], prob_BxV, 0), axis=-1)
        enough_B = (above_B >= p) & (above_B > 0)  # a tiny p may have become 0 in float32
        return jnp.where(enough_B, middle_B, low_B), jnp.where(enough_B, high_B, middle_B)

    batch = logits_BxV.shape[0]
    above_one = jax.lax.bitcast_convert_type(jnp.float32(1.0), jnp.int32) + 1
    ends = (jnp.zeros((batch,), jnp.int32), jnp.full((batch,), above_one))
    least_B, _ = jax.lax.fori_loop(0, 31, halve, ends)
    return jnp.where(bits_BxV >= least_B[:, None], logits_BxV, -jnp.inf)


def most_probable(logits_BxV: jax.Array) -> jax.Array:
    """The token of the largest logit, [B] int32; the first of several.

    As `argmax`, in two passes for which processors have vector instructions: a reduction that
    carries an index along has none, and took longer than the product that makes the logits.
    """
    tokens_V = jnp.arange(logits_BxV.shape[-1], dtype=jnp.int32)
    most_Bx1 = jnp.max(logits_BxV, axis=-1, keepdims=True)
    return jnp.min(jnp.where(logits_BxV == most_Bx1, tokens_V[None], tokens_V[-1]), axis=-1)


def draw_tokens(keys_B: jax.Array, logits_BxV: jax.Array) -> jax.Array:
    """A token for each row, drawn from the softmax of its logits with its own key, [B] int32.

    As `jax.random.categorical`, a few rows at a time, whose noise then stays in the caches.
    """

    def draw(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        key, logits_V = row
        noise_V = jax.random.gumbel(key, logits_V.shape, logits_V.dtype)
        return most_probable((logits_V + noise_V)[None])[0]

    return jax.lax.map(draw, (keys_B, logits_BxV), batch_size=_DRAWN_TOGETHER)
