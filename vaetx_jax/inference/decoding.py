"""Decoding latents to tokens: greedy, sampling, beam search."""

import dataclasses
import functools
import math
from typing import Any

import jax
import numpy as np

from vaetx_jax.errors import ConfigError
from vaetx_jax.inference.arguments import check_integer, check_number
from vaetx_jax.inference.batching import BATCH, batches_of_rows, largest_batch
from vaetx_jax.inference.beam_search import beam_search
from vaetx_jax.inference.logits import SpecialIds
from vaetx_jax.inference.token_by_token import Draws, TokenRule, decode_token_by_token
from vaetx_jax.models.language_model import LanguageModel, Variables
from vaetx_jax.settings import closest

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
            raise ConfigError(
                f"unknown argument {name!r} of decoding{closest(name, known)}; there are "
                f"{', '.join(known)}"
            )
    whole = ("top_k", "beam", "no_repeat")
    given = {
        name: check_integer(name, value, 0) if name in whole else check_number(name, value)
        for name, value in how.items()
    }
    return Decoding(**given)  # type: ignore[arg-type]


def decode(
    model: LanguageModel,
    variables: Variables,
    z_NxZ: np.ndarray,
    key: jax.Array,
    *,
    special: SpecialIds,
    max_len: int,
    how: Decoding = GREEDY,
    numbers_N: np.ndarray | None = None,
    batch: int = BATCH,
) -> np.ndarray:
    """Sentences from latents: ids [N, max_len - 1], each up to and with its [SEP], then [PAD].

    Args:
      z_NxZ: latents; [N, 0] for a language model.
      key: the random key of the draws.
      max_len: tokens at most, [CLS] and [SEP] counted as in `data.max_len`; a sentence that does
        not end by itself is cut there, without [SEP].
      numbers_N: int32, of the rows: a row's draws depend on the key and its number alone; None:
        0, 1, ...
      batch: rows at a time, at most; fewer in a beam search, by as much as it is wide.
    """
    if numbers_N is None:
        numbers_N = np.arange(len(z_NxZ), dtype=np.int32)
    if how.beam > 1:
        search = functools.partial(
            beam_search,
            model,
            variables,
            length_power=np.float32(how.length_power),
            special=special,
            length=max_len - 1,
            width=how.beam,
            no_repeat=how.no_repeat,
        )
        ids_NxL = np.zeros((len(z_NxZ), max_len - 1), np.int32)
        most = largest_batch(len(z_NxZ), max(1, batch // how.beam))
        for at_B, size in batches_of_rows(len(z_NxZ), most=most):
            filled_B = np.resize(at_B, size)
            ids_NxL[at_B] = np.asarray(search(z_NxZ[filled_B]))[: len(at_B)]
        return ids_NxL
    rule = TokenRule(
        special=special,
        length=max_len - 1,
        no_repeat=how.no_repeat,
        draws=how.temperature > 0,
        top_k=how.top_k,
        has_top_p=how.top_p < 1,
    )
    draws = Draws(key, np.float32(how.temperature), np.float32(how.top_p))
    return decode_token_by_token(model, variables, z_NxZ, numbers_N, draws, rule, batch=batch)
