"""An n-gram language model over token ids: what a corpus costs under a tokenizer, in seconds.

Witten and Bell's interpolation ('The zero-frequency problem', 1991, method C): after a context h
that was seen c(h) times with t(h) different successors,

    p(w | h) = (c(h w) + t(h) p(w | h')) / (c(h) + t(h)),

where h' is h without its first token; below the unigrams lies the uniform distribution 1/V. It has
no setting but its order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class SentenceNats(NamedTuple):
    """Nats of N sentences: of all tokens and the end token, and of the end token alone."""

    total_N: Floats
    end_N: Floats


class _Counts(NamedTuple):
    """The n-grams of one length, and their contexts; both sorted by key."""

    grams: Ints
    gram_counts: Ints
    contexts: Ints
    context_counts: Ints
    context_types: Ints


class NgramModel:
    """An interpolated n-gram model of sentences that each end with an end token.

    Args:
      sentences: training sentences as token ids, without special ids.
      vocab_size: V; every id is below it.
      end: the id of the end token, which is predicted after each sentence.
      order: the longest n-gram.

    Raises:
      ValueError: the n-grams do not fit in 64 bits.
    """

    def __init__(
        self, sentences: Sequence[Sequence[int]], *, vocab_size: int, end: int, order: int
    ) -> None:
        self._base = vocab_size + 1  # one more id stands before the first token
        self._end, self._order = end, order
        if self._base**order >= 2**63:
            raise ValueError(f"{order}-grams of {vocab_size:,} tokens do not fit in 64 bits")
        ids, places, _ = self._stream(sentences)
        self._counts = [_count(self._keys(ids, places, n), self._base) for n in range(order)]

    def nats(self, sentences: Sequence[Sequence[int]], order: int | None = None) -> SentenceNats:
        """Nats per sentence; `order` limits the length of the n-grams."""
        ids, places_P, starts_N = self._stream(sentences)
        probability_P = np.full(len(places_P), 1 / (self._base - 1))
        for n, counts in enumerate(self._counts[:order]):
            keys_P = self._keys(ids, places_P, n)
            contexts_P = keys_P // self._base
            seen_P = _look_up(contexts_P, counts.contexts, counts.context_counts)
            types_P = _look_up(contexts_P, counts.contexts, counts.context_types)
            found_P = _look_up(keys_P, counts.grams, counts.gram_counts)
            mixed_P = (found_P + types_P * probability_P) / np.maximum(seen_P + types_P, 1)
            probability_P = np.where(seen_P > 0, mixed_P, probability_P)
        nats_P = -np.log(probability_P)
        last_N = np.append(starts_N[1:], len(nats_P)) - 1
        return SentenceNats(np.add.reduceat(nats_P, starts_N), nats_P[last_N])

    def _stream(self, sentences: Sequence[Sequence[int]]) -> tuple[Ints, Ints, Ints]:
        """All ids in a row; where the predicted ones stand; each sentence's first among those."""
        before = [self._base - 1] * (self._order - 1)
        ids = np.array([i for s in sentences for i in (*before, *s, self._end)], np.int64)
        sizes_N = np.array([len(s) + 1 for s in sentences], np.int64)
        starts_N = np.cumsum(sizes_N) - sizes_N
        sentence_P = np.repeat(np.arange(len(sizes_N)), sizes_N)
        return ids, np.arange(sizes_N.sum()) + len(before) * (sentence_P + 1), starts_N

    def _keys(self, ids: Ints, places_P: Ints, n: int) -> Ints:
        """A number for each predicted token and the n before it."""
        keys_P = np.zeros(len(places_P), np.int64)
        for back in range(n, -1, -1):
            keys_P = keys_P * self._base + ids[places_P - back]
        return keys_P


def _count(keys: Ints, base: int) -> _Counts:
    grams, gram_counts = np.unique(keys, return_counts=True)
    contexts, place, types = np.unique(grams // base, return_inverse=True, return_counts=True)
    context_counts = np.bincount(place, weights=gram_counts).astype(np.int64)
    return _Counts(grams, gram_counts, contexts, context_counts, types)


def _look_up(wanted_P: Ints, keys: Ints, values: Ints) -> Ints:
    """The value of each wanted key, 0 where there is none; `keys` are sorted."""
    place_P = np.minimum(np.searchsorted(keys, wanted_P), len(keys) - 1)
    return np.where(keys[place_P] == wanted_P, values[place_P], 0)
