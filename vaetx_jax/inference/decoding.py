"""Decoding latents to tokens: greedy, sampling, beam search; each is one compiled loop."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from vaetx_jax.errors import ConfigError
from vaetx_jax.inference.arguments import check_integer, check_number
from vaetx_jax.inference.beam_search import beam_search
from vaetx_jax.inference.logits import SpecialIds, keep_top_k, keep_top_p, mask_forbidden
from vaetx_jax.models import text_vae
from vaetx_jax.models.text_vae import LanguageModel, Variables

__all__ = ["GREEDY", "Decoding", "SpecialIds", "decode"]


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
      temperature: logits are divided by it before a token is drawn; 0: the most probable token.
      top_k: draw among this many most probable tokens; 0: among all.
      top_p: draw among the fewest most probable tokens whose probabilities (at the temperature,
        after `top_k`) sum to at least this (top_p sampling, Holtzman et al., 2020); 1: all.
      beam: keep this many hypotheses and return the most probable sentence found; 1: no search.
        Nothing is drawn in a beam search, so it goes with temperature 0 alone.
      length_power: hypotheses of a beam are compared by log-probability over length to this power
        (0: by log-probability, which favours short sentences).
      no_repeat: no n-gram of this many tokens is repeated; 0: no limit. A forbidden token has no
        probability: the others share it.

    Raises:
      ConfigError: a value is out of range, or does not go with another.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    beam: int = 1
    length_power: float = 0.0
    no_repeat: int = 0

    def __post_init__(self) -> None:
        drawable = 1e-6 <= self.temperature < math.inf
        rules = (
            ("temperature", drawable or self.temperature == 0, "0, or at least 1e-6 and finite"),
            ("top_k", self.top_k >= 0, "at least 0"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("beam", self.beam >= 1, "at least 1"),
            ("length_power", 0 <= self.length_power < math.inf, "at least 0 and finite"),
            ("no_repeat", self.no_repeat >= 0, "at least 0"),
        )
        for name, holds, must in rules:
            if not holds:  # NaN, too
                raise ConfigError(f"{name} = {getattr(self, name)}: must be {must}")
        if self.beam > 1 and self.temperature > 0:
            raise ConfigError(
                f"beam = {self.beam} with temperature = {self.temperature}: a beam search draws "
                "nothing; leave one of them out"
            )
        if self.temperature == 0 and (self.top_k or self.top_p < 1):
            raise ConfigError(
                "top_k and top_p restrict the draw, and at temperature = 0 nothing is drawn; "
                "set a temperature above 0"
            )


GREEDY = Decoding()


def make_decoding(how: dict[str, Any]) -> Decoding:
    """The `Decoding` of keyword arguments.

    Raises:
      ConfigError: an unknown field, or a value out of range.
    """
    known = [field.name for field in dataclasses.fields(Decoding)]
    for name in how:
        if name not in known:
            raise ConfigError(f"there is no {name!r} in decoding; there are {', '.join(known)}")
    whole = ("top_k", "beam", "no_repeat")
    given = {
        name: check_integer(name, value, 0) if name in whole else check_number(name, value)
        for name, value in how.items()
    }
    return Decoding(**given)  # type: ignore[arg-type]


def decode(
    model: LanguageModel,
    variables: Variables,
    z_BxZ: jax.Array,
    key: jax.Array,
    *,
    special: SpecialIds,
    max_len: int,
    how: Decoding = GREEDY,
    rows_B: jax.Array | None = None,
) -> jax.Array:
    """Sentences from latents: ids [B, max_len - 1], each up to and with its [SEP], then [PAD].

    Args:
      z_BxZ: latents; [B, 0] for a language model.
      key: the random key of the draws.
      max_len: tokens at most, [CLS] and [SEP] counted as in `data.max_len`; a sentence that does
        not end by itself is cut there, without [SEP].
      rows_B: int32, the numbers of the rows: a row's draws depend on the key and its number alone;
        None: 0, 1, ...
    """
    static = {"special": special, "length": max_len - 1, "no_repeat": how.no_repeat}
    if how.beam > 1:
        power = jnp.float32(how.length_power)
        return beam_search(model, variables, z_BxZ, power, width=how.beam, **static)
    if rows_B is None:
        rows_B = jnp.arange(z_BxZ.shape[0], dtype=jnp.int32)
    # Numbers that only scale are arguments of the compiled program: a new value compiles nothing.
    return _one_by_one(
        model,
        variables,
        z_BxZ,
        (key, rows_B),
        jnp.float32(how.temperature),
        jnp.float32(how.top_p),
        draws=how.temperature > 0,
        top_k=how.top_k,
        has_top_p=how.top_p < 1,
        **static,
    )


@functools.partial(
    jax.jit,
    static_argnames=("model", "special", "length", "no_repeat", "draws", "top_k", "has_top_p"),
)
def _one_by_one(
    model: LanguageModel,
    variables: Variables,
    z_BxZ: jax.Array,
    stream: tuple[jax.Array, jax.Array],
    temperature: jax.Array,
    top_p: jax.Array,
    *,
    special: SpecialIds,
    length: int,
    no_repeat: int,
    draws: bool,
    top_k: int,
    has_top_p: bool,
) -> jax.Array:
    """One token after the other, the most probable or a drawn one, until all rows have ended."""
    batch, (key, rows_B) = z_BxZ.shape[0], stream
    keys_B = jax.vmap(functools.partial(jax.random.fold_in, key))(rows_B)

    def draw(logits_BxV: jax.Array, position: jax.Array) -> jax.Array:
        # The largest logit becomes 0, so that a small temperature gives no infinity above.
        most_Bx1 = jnp.max(logits_BxV, axis=-1, keepdims=True)
        kept_BxV = keep_top_k((logits_BxV - most_Bx1) / temperature, top_k)
        if has_top_p:
            kept_BxV = keep_top_p(kept_BxV, top_p)
        at_B = jax.vmap(lambda row_key: jax.random.fold_in(row_key, position))(keys_B)
        return jax.vmap(jax.random.categorical)(at_B, kept_BxV)

    def body(carry: Any) -> Any:
        position, last_B, ids_BxL, cache, ended_B = carry
        logits_BxV, cache = text_vae.step(model, variables, last_B, position, cache)
        logits_BxV = mask_forbidden(
            logits_BxV, ids_BxL, position, special=special, no_repeat=no_repeat
        )
        next_B = draw(logits_BxV, position) if draws else jnp.argmax(logits_BxV, axis=-1)
        next_B = jnp.where(ended_B, special.pad, next_B.astype(jnp.int32))
        ids_BxL = jax.lax.dynamic_update_slice_in_dim(ids_BxL, next_B[:, None], position, axis=1)
        return position + 1, next_B, ids_BxL, cache, ended_B | (next_B == special.sep)

    def is_unfinished(carry: Any) -> jax.Array:
        position, *_, ended_B = carry
        return (position < length) & ~jnp.all(ended_B)

    start = (
        jnp.int32(0),
        jnp.full((batch,), special.cls, jnp.int32),
        jnp.full((batch, length), special.pad, jnp.int32),
        text_vae.start(model, variables, z_BxZ, length),
        jnp.zeros((batch,), bool),
    )
    return jax.lax.while_loop(is_unfinished, body, start)[2]
