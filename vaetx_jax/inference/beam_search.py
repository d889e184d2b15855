"""Beam search: the most probable sentence of a latent among a few hypotheses."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vaetx_jax.inference.logits import SpecialIds, mask_forbidden
from vaetx_jax.models import text_vae
from vaetx_jax.models.language_model import LanguageModel, Variables


class _Beam(NamedTuple):
    """The W best unfinished hypotheses of each row, best first, and its best finished one."""

    position: jax.Array
    last_BW: jax.Array
    ids_BWxL: jax.Array
    cache: Any
    score_BxW: jax.Array  # log-probability
    ended_BxL: jax.Array
    ended_score_B: jax.Array  # log-probability over length to the chosen power


class _Best(NamedTuple):
    """The best continuations of all hypotheses."""

    score_BxW: jax.Array  # of the W best unfinished ones
    parent_BxW: jax.Array
    token_BxW: jax.Array
    end_score_B: jax.Array  # of the best that ends here; minus infinity where none does
    end_parent_B: jax.Array


@functools.partial(jax.jit, static_argnames=("model", "special", "length", "width", "no_repeat"))
def beam_search(
    model: LanguageModel,
    variables: Variables,
    z_BxZ: jax.Array,
    length_power: jax.Array,
    *,
    special: SpecialIds,
    length: int,
    width: int,
    no_repeat: int = 0,
) -> jax.Array:
    """ids [B, length]: the best sentence found, up to and with its [SEP], then [PAD].

    A hypothesis ends where its [SEP] is among the `width` best continuations of its row; one that
    is `length` tokens long competes without. They are compared by log-probability over length to
    `length_power`; at 0 a width of 1 is greedy decoding. A row is done once nothing that goes on
    can become better than what has ended, so that it does not depend on the other rows.
    """
    batch = z_BxZ.shape[0]
    longest = jnp.float32(length) ** length_power

    def is_unfinished(beam: _Beam) -> jax.Array:
        # A log-probability only falls, and no length divides it by more than the longest.
        hope_B = beam.score_BxW[:, 0] / longest
        return (beam.position < length) & jnp.any(hope_B > beam.ended_score_B)

    def body(beam: _Beam) -> _Beam:
        logits_BWxV, cache = text_vae.step(
            model, variables, beam.last_BW, beam.position, beam.cache
        )
        logits_BWxV = mask_forbidden(
            logits_BWxV, beam.ids_BWxL, beam.position, special=special, no_repeat=no_repeat
        )
        best = _best_continuations(logits_BWxV.astype(jnp.float32), beam.score_BxW, special.sep)
        scale = (beam.position + 1).astype(jnp.float32) ** length_power
        end_score_B = best.end_score_B / scale
        better_B = end_score_B > beam.ended_score_B
        first_B = jnp.arange(batch, dtype=jnp.int32) * width
        put = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=1)
        sep_Bx1 = jnp.full((batch, 1), special.sep, jnp.int32)
        end_BxL = put(beam.ids_BWxL[first_B + best.end_parent_B], sep_Bx1, beam.position)
        parent_BW = (first_B[:, None] + best.parent_BxW).reshape(-1)
        token_BW = best.token_BxW.reshape(-1)
        return _Beam(
            beam.position + 1,
            token_BW,
            put(beam.ids_BWxL[parent_BW], token_BW[:, None], beam.position),
            jax.tree.map(lambda leaf: leaf[parent_BW], cache),
            best.score_BxW,
            jnp.where(better_B[:, None], end_BxL, beam.ended_BxL),
            jnp.where(better_B, end_score_B, beam.ended_score_B),
        )

    end = jax.lax.while_loop(
        is_unfinished, body, _start(model, variables, z_BxZ, special, length, width)
    )
    best_BxL = end.ids_BWxL.reshape(batch, width, length)[:, 0]
    unended_B = end.score_BxW[:, 0] / longest > end.ended_score_B
    return jnp.where(unended_B[:, None], best_BxL, end.ended_BxL)


def _start(
    model: LanguageModel,
    variables: Variables,
    z_BxZ: jax.Array,
    special: SpecialIds,
    length: int,
    width: int,
) -> _Beam:
    """One hypothesis per row, the empty one; the others have no probability yet."""
    batch = z_BxZ.shape[0]
    first_W = jnp.arange(width, dtype=jnp.int32) == 0
    score_W = jnp.where(first_W, 0.0, -jnp.inf).astype(jnp.float32)
    z_BWxZ = jnp.repeat(z_BxZ, width, axis=0)
    return _Beam(
        jnp.int32(0),
        jnp.full((batch * width,), special.cls, jnp.int32),
        jnp.full((batch * width, length), special.pad, jnp.int32),
        text_vae.start(model, variables, z_BWxZ, length),
        jnp.broadcast_to(score_W[None], (batch, width)),
        jnp.full((batch, length), special.pad, jnp.int32),
        jnp.full((batch,), -jnp.inf, jnp.float32),
    )


def _best_continuations(logits_BWxV: jax.Array, score_BxW: jax.Array, sep: int) -> _Best:
    """The W best continuations that do not end, and the best end among the W best of all.

    One continuation of a hypothesis at most is its end, so the W + 1 best of each hypothesis hold
    all that can be best.
    """
    batch, width = score_BxW.shape
    each = min(width + 1, logits_BWxV.shape[-1])
    # Ranked by logits, so that rounding in the normalisation makes no ties.
    top_BWxE, token_BWxE = jax.lax.top_k(logits_BWxV, each)
    log_prob_BWxE = top_BWxE - jax.nn.logsumexp(logits_BWxV, axis=-1)[:, None]
    score_BxC = (score_BxW.reshape(-1)[:, None] + log_prob_BWxE).reshape(batch, -1)
    token_BxC = token_BWxE.reshape(batch, -1).astype(jnp.int32)
    ends_BxC = token_BxC == sep
    best_BxW, at_BxW = jax.lax.top_k(score_BxC, width)
    ends_BxW = jnp.take_along_axis(ends_BxC, at_BxW, axis=1)
    end_BxW = jnp.where(ends_BxW, best_BxW, -jnp.inf)
    first_Bx1 = jnp.argmax(end_BxW, axis=1)[:, None]
    end_at_B = jnp.take_along_axis(at_BxW, first_Bx1, axis=1)[:, 0]
    on_BxW, on_at_BxW = jax.lax.top_k(jnp.where(ends_BxC, -jnp.inf, score_BxC), width)
    return _Best(
        on_BxW,
        (on_at_BxW // each).astype(jnp.int32),
        jnp.take_along_axis(token_BxC, on_at_BxW, axis=1),
        jnp.max(end_BxW, axis=1),
        (end_at_B // each).astype(jnp.int32),
    )
