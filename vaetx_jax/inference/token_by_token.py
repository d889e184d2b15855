"""Decoding a token at a time, greedily or by drawing; rows that have ended leave their batch.

All rows are at the same position. A compiled loop adds a few tokens to each batch; then the rows
that go on are gathered into fewer or smaller batches, where that is less work. A row's tokens
depend on its latent and its number alone, so that no row notices.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaetx_jax.inference.batching import batch_cost, batch_sizes, largest_batch
from vaetx_jax.inference.logits import (
    SpecialIds,
    draw_tokens,
    keep_top_k,
    keep_top_p,
    mask_forbidden,
    most_probable,
)
from vaetx_jax.models import text_vae
from vaetx_jax.models.language_model import LanguageModel, Variables

_TOKENS = 8  # added to every row between two looks at which of them have ended
# What a token step costs beside its rows, in rows: the output layer is read whole for few and many.
_OVERHEAD = 20
_POOL_BYTES = 2**27  # of the caches of all rows that are decoded together


@dataclasses.dataclass(frozen=True)
class TokenRule:
    """How a token is chosen, as far as a compiled program depends on it: see `Decoding`."""

    special: SpecialIds
    length: int
    no_repeat: int
    draws: bool
    top_k: int
    has_top_p: bool


class Draws(NamedTuple):
    """The randomness of the draws, and the numbers that only scale them: arguments of the compiled
    program, so that a new value compiles nothing.
    """

    key: jax.Array
    temperature: Any  # float32
    top_p: Any


class _Rows(NamedTuple):
    """The state of a batch of B rows between two tokens."""

    last_B: Any
    ids_BxL: Any
    ended_B: Any
    cache: Any


class _Batch(NamedTuple):
    """A batch, and which of all rows each of its rows is; -1: a filler, which has ended."""

    members_B: np.ndarray
    rows: _Rows


def pool_size(model: LanguageModel, variables: Variables, length: int, batch: int) -> int:
    """How many rows are decoded together: up to eight batches, as memory allows."""
    z_1xZ = jax.ShapeDtypeStruct((1, model.latent_dim), jnp.float32)
    start = functools.partial(text_vae.start, model, max_len=length)
    leaves = jax.tree.leaves(jax.eval_shape(start, variables, z_BxZ=z_1xZ))
    row_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    return batch * int(np.clip(_POOL_BYTES // (row_bytes * batch), 1, 8))


def decode_token_by_token(
    model: LanguageModel,
    variables: Variables,
    z_NxZ: np.ndarray,
    numbers_N: np.ndarray,
    draws: Draws,
    rule: TokenRule,
    *,
    batch: int,
) -> np.ndarray:
    """ids [N, length]: each sentence up to and with its [SEP], then [PAD].

    Args:
      numbers_N: of the rows; a row's draws depend on the key and its number.
      batch: rows at a time, at most.
    """
    count, length = len(z_NxZ), rule.length
    ids_NxL = np.full((count, length), rule.special.pad, np.int32)
    sizes = functools.partial(batch_sizes, most=largest_batch(count, batch), overhead=_OVERHEAD)

    def begin(at_B: np.ndarray, ended_B: np.ndarray) -> _Rows:
        return _start(model, variables, z_NxZ[at_B], ended_B, rule)

    batches, position = _filled(np.arange(count), sizes(count), begin), 0
    while batches:
        # A row alone has none to be gathered with.
        until = length if count == 1 else min(position + _TOKENS, length)
        span = np.int32(position), np.int32(until)
        for i, (members_B, rows) in enumerate(batches):
            numbers_B = numbers_N[members_B]
            rows = _advance(model, variables, rows, span, draws, numbers_B, rule)
            batches[i] = _Batch(members_B, rows)
        going = []
        for members_B, rows in batches:
            real_B = members_B >= 0
            ids_NxL[members_B[real_B]] = np.asarray(rows.ids_BxL)[real_B]
            going.append(~np.asarray(rows.ended_B))
        position, left = until, sum(map(np.count_nonzero, going))
        if position == length or not left:
            break
        fitting = sizes(left)
        now = batch_cost([len(going_B) for going_B in going], _OVERHEAD)
        if batch_cost(fitting, _OVERHEAD) < now:
            batches = _gathered(batches, going, fitting)
    return ids_NxL


def _filled(
    members: np.ndarray, sizes: Sequence[int], rows_at: Callable[[np.ndarray, np.ndarray], _Rows]
) -> list[_Batch]:
    """Batches of some sizes; one that is not full repeats the last row, as a filler.

    Args:
      rows_at: (indices in `members` [B], which of them are fillers [B]) -> the rows.
    """
    batches, first = [], 0
    for size in sizes:
        at_B = np.arange(first, first + size)
        filler_B = at_B >= len(members)
        at_B = np.minimum(at_B, len(members) - 1)
        members_B = np.where(filler_B, -1, members[at_B])
        batches.append(_Batch(members_B, rows_at(at_B, filler_B)))
        first += size
    return batches


def _gathered(batches: list[_Batch], going: list[np.ndarray], sizes: Sequence[int]) -> list[_Batch]:
    """The rows that go on, in batches of some sizes."""

    def join(*leaves: Any) -> np.ndarray:
        parts = zip(leaves, going, strict=True)
        return np.concatenate([np.asarray(leaf)[going_B] for leaf, going_B in parts])

    members, *all_rows = zip(*batches, strict=True)
    joined: _Rows = jax.tree.map(join, *all_rows[0])

    def rows_at(at_B: np.ndarray, filler_B: np.ndarray) -> _Rows:
        return jax.tree.map(lambda leaf: leaf[at_B], joined)._replace(ended_B=filler_B)

    return _filled(join(*members), sizes, rows_at)


@functools.partial(jax.jit, static_argnames=("model", "rule"))
def _start(
    model: LanguageModel,
    variables: Variables,
    z_BxZ: jax.Array,
    ended_B: jax.Array,
    rule: TokenRule,
) -> _Rows:
    batch = z_BxZ.shape[0]
    return _Rows(
        jnp.full((batch,), rule.special.cls, jnp.int32),
        jnp.full((batch, rule.length), rule.special.pad, jnp.int32),
        ended_B,
        text_vae.start(model, variables, z_BxZ, rule.length),
    )


@functools.partial(jax.jit, static_argnames=("model", "rule"), donate_argnames="rows")
def _advance(
    model: LanguageModel,
    variables: Variables,
    rows: _Rows,
    span: tuple[jax.Array, jax.Array],
    draws: Draws,
    numbers_B: jax.Array,
    rule: TokenRule,
) -> _Rows:
    """The rows with the tokens of the positions from span[0] to before span[1]."""
    special, (first, until) = rule.special, span
    keys_B = jax.vmap(functools.partial(jax.random.fold_in, draws.key))(numbers_B)

    def choose(logits_BxV: jax.Array, position: jax.Array) -> jax.Array:
        if not rule.draws:
            return most_probable(logits_BxV)
        # The largest logit becomes 0, so that a small temperature gives no infinity above.
        most_Bx1 = jnp.max(logits_BxV, axis=-1, keepdims=True)
        kept_BxV = keep_top_k((logits_BxV - most_Bx1) / draws.temperature, rule.top_k)
        if rule.has_top_p:
            kept_BxV = keep_top_p(kept_BxV, draws.top_p)
        at_B = jax.vmap(lambda row_key: jax.random.fold_in(row_key, position))(keys_B)
        return draw_tokens(at_B, kept_BxV)

    def body(carry: tuple[jax.Array, _Rows]) -> tuple[jax.Array, _Rows]:
        position, (last_B, ids_BxL, ended_B, cache) = carry
        logits_BxV, cache = text_vae.step(model, variables, last_B, position, cache)
        logits_BxV = mask_forbidden(
            logits_BxV, ids_BxL, position, special=special, no_repeat=rule.no_repeat
        )
        next_B = jnp.where(ended_B, special.pad, choose(logits_BxV, position))
        ids_BxL = jax.lax.dynamic_update_slice_in_dim(ids_BxL, next_B[:, None], position, axis=1)
        ended_B = ended_B | (next_B == special.sep)
        return position + 1, _Rows(next_B, ids_BxL, ended_B, cache)

    def is_unfinished(carry: tuple[jax.Array, _Rows]) -> jax.Array:
        return (carry[0] < until) & ~jnp.all(carry[1].ended_B)

    return jax.lax.while_loop(is_unfinished, body, (first, rows))[1]
