"""Beam search: the most probable sentence of a latent, as far as a few hypotheses can tell."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vaetx_jax.inference.logits import SpecialIds, allowed
from vaetx_jax.models import text_vae
from vaetx_jax.models.text_vae import LanguageModel, Variables


class _Beam(NamedTuple):
    """Of each row the W best hypotheses that go on, best first, and the best that has ended."""

    position: jax.Array
    last_BW: jax.Array
    ids_BWxL: jax.Array
    cache: Any
    score_BxW: jax.Array  # log-probability
    ended_BxL: jax.Array
    ended_score_B: jax.Array  # log-probability over length to the chosen power


class _Chosen(NamedTuple):
    """What the continuations of all hypotheses come to."""

    score_BxW: jax.Array  # of the W best that go on
    parent_BxW: jax.Array
    piece_BxW: jax.Array
    end_score_B: jax.Array  # of the best that ends here, minus infinity where none does
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
    is `length` pieces long competes without. They are compared by log-probability over length to
    `length_power`; at 0 a width of 1 is greedy decoding. A row is done once nothing that goes on
    can become better than what has ended, so that it does not depend on the other rows.
    """
    batch = z_BxZ.shape[0]
    longest = jnp.float32(length) ** length_power

    def going(beam: _Beam) -> jax.Array:
        # A log-probability only falls, and no length divides it by more than the longest.
        hope_B = beam.score_BxW[:, 0] / longest
        return (beam.position < length) & jnp.any(hope_B > beam.ended_score_B)

    def body(beam: _Beam) -> _Beam:
        logits_BWxV, cache = text_vae.step(
            model, variables, beam.last_BW, beam.position, beam.cache
        )
        logits_BWxV = allowed(
            logits_BWxV, beam.ids_BWxL, beam.position, special=special, no_repeat=no_repeat
        )
        chosen = _choose(logits_BWxV.astype(jnp.float32), beam.score_BxW, special.sep)
        said = (beam.position + 1).astype(jnp.float32) ** length_power
        end_score_B = chosen.end_score_B / said
        better_B = end_score_B > beam.ended_score_B
        first_B = jnp.arange(batch, dtype=jnp.int32) * width
        put = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=1)
        sep_Bx1 = jnp.full((batch, 1), special.sep, jnp.int32)
        end_BxL = put(beam.ids_BWxL[first_B + chosen.end_parent_B], sep_Bx1, beam.position)
        parent_BW = (first_B[:, None] + chosen.parent_BxW).reshape(-1)
        piece_BW = chosen.piece_BxW.reshape(-1)
        return _Beam(
            beam.position + 1,
            piece_BW,
            put(beam.ids_BWxL[parent_BW], piece_BW[:, None], beam.position),
            jax.tree.map(lambda leaf: leaf[parent_BW], cache),
            chosen.score_BxW,
            jnp.where(better_B[:, None], end_BxL, beam.ended_BxL),
            jnp.where(better_B, end_score_B, beam.ended_score_B),
        )

    end = jax.lax.while_loop(going, body, _start(model, variables, z_BxZ, special, length, width))
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
    """One hypothesis a row, the empty one; the others have no probability yet."""
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


def _choose(logits_BWxV: jax.Array, score_BxW: jax.Array, sep: int) -> _Chosen:
    """The W best continuations that go on, and the best end among the W best of all.

    One continuation of a hypothesis at most is its end, so the W + 1 best of each hypothesis hold
    all that can be chosen.
    """
    batch, width = score_BxW.shape
    each = min(width + 1, logits_BWxV.shape[-1])
    # Ranked by logits, so that rounding in the normalisation makes no ties.
    top_BWxE, piece_BWxE = jax.lax.top_k(logits_BWxV, each)
    log_prob_BWxE = top_BWxE - jax.nn.logsumexp(logits_BWxV, axis=-1)[:, None]
    score_BxC = (score_BxW.reshape(-1)[:, None] + log_prob_BWxE).reshape(batch, -1)
    piece_BxC = piece_BWxE.reshape(batch, -1).astype(jnp.int32)
    ends_BxC = piece_BxC == sep
    best_BxW, at_BxW = jax.lax.top_k(score_BxC, width)
    ends_BxW = jnp.take_along_axis(ends_BxC, at_BxW, axis=1)
    end_BxW = jnp.where(ends_BxW, best_BxW, -jnp.inf)
    first_Bx1 = jnp.argmax(end_BxW, axis=1)[:, None]
    end_at_B = jnp.take_along_axis(at_BxW, first_Bx1, axis=1)[:, 0]
    on_BxW, on_at_BxW = jax.lax.top_k(jnp.where(ends_BxC, -jnp.inf, score_BxC), width)
    return _Chosen(
        on_BxW,
        (on_at_BxW // each).astype(jnp.int32),
        jnp.take_along_axis(piece_BxC, on_at_BxW, axis=1),
        jnp.max(end_BxW, axis=1),
        (end_at_B // each).astype(jnp.int32),
    )
