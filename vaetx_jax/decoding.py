"""From a latent to pieces: greedy and sampling, in one compiled loop with a cache."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from vaetx_jax.models.text_vae import LanguageModel


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """The ids a decoder must know: where a sentence begins and ends, and what is never said."""

    pad: int
    cls: int
    sep: int


@functools.partial(jax.jit, static_argnames=("model", "special", "max_len", "greedy"))
def decode(
    model: LanguageModel,
    params: Any,
    z_BxZ: jax.Array,
    key: jax.Array,
    *,
    special: SpecialIds,
    max_len: int,
    temperature: jax.Array | float = 1.0,
    greedy: bool = False,
) -> jax.Array:
    """Sentences from latents: ids [B, max_len - 1], each up to and with its [SEP], then [PAD].

    Args:
      z_BxZ: latents; [B, 0] for a language model.
      key: of the draws, unused when greedy.
      max_len: pieces at most, [CLS] and [SEP] counted as in `data.max_len`; a sentence that does
        not end by itself ends there without [SEP].
      temperature: logits are divided by it before sampling.
      greedy: take the most probable piece instead.
    """
    batch, length = z_BxZ.shape[0], max_len - 1
    never_V = jnp.isin(
        jnp.arange(model.vocab_size, dtype=jnp.int32),
        jnp.asarray([special.pad, special.cls], jnp.int32),
    )

    def going(carry: Any) -> jax.Array:
        position, *_, ended = carry
        return (position < length) & ~jnp.all(ended)

    def body(carry: Any) -> Any:
        position, last_B, ids_BxL, cache, ended_B = carry
        logits_BxV, cache = model.apply({"params": params}, last_B, position, cache, method="step")
        logits_BxV = jnp.where(never_V[None], -jnp.inf, logits_BxV)
        if greedy:
            next_B = jnp.argmax(logits_BxV, axis=-1).astype(jnp.int32)
        else:
            scaled = logits_BxV / jnp.asarray(temperature, logits_BxV.dtype)
            step_key = jax.random.fold_in(key, position)
            next_B = jax.random.categorical(step_key, scaled, axis=-1).astype(jnp.int32)
        next_B = jnp.where(ended_B, special.pad, next_B)
        ids_BxL = jax.lax.dynamic_update_slice_in_dim(ids_BxL, next_B[:, None], position, axis=1)
        return position + 1, next_B, ids_BxL, cache, ended_B | (next_B == special.sep)

    start = (
        jnp.int32(0),
        jnp.full((batch,), special.cls, jnp.int32),
        jnp.full((batch, length), special.pad, jnp.int32),
        model.apply({"params": params}, z_BxZ, length, method="start"),
        jnp.zeros((batch,), bool),
    )
    return jax.lax.while_loop(going, body, start)[2]
