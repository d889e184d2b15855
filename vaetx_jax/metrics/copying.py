"""Copying: how much of some sentences occurs verbatim in a corpus."""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_CHUNK = 1 << 22  # tokens of the corpus that are compared at a time

Ints = npt.NDArray[np.int64]


def whole_copies(
    sentences: Sequence[Sequence[int]], tokens: npt.NDArray[np.integer], offsets: Ints
) -> npt.NDArray[np.bool_]:
    """Whether each of N sentences is a sentence of the corpus, bool [N].

    Args:
      sentences: as token ids.
      tokens: all tokens of the corpus, one sentence after the other.
      offsets: sentence i of the corpus is `tokens[offsets[i]:offsets[i + 1]]`.
    """
    wanted = {np.asarray(ids, np.int64).tobytes() for ids in sentences}
    found = set()
    for part, starts in _chunks(tokens, offsets):
        for start, stop in itertools.pairwise(starts):
            text = part[start:stop].tobytes()
            if text in wanted:
                found.add(text)
    return np.array([np.asarray(ids, np.int64).tobytes() in found for ids in sentences], bool)


def longest_runs(
    sentences: Sequence[Sequence[int]], tokens: npt.NDArray[np.integer], offsets: Ints
) -> Ints:
    """The longest run of tokens that each of N sentences has in common with one of the corpus, [N].

    Exact: runs of n + 1 tokens are looked for only where a run of n was found. The arguments are
    those of `whole_copies`.
    """
    longest_N = np.zeros(len(sentences), np.int64)
    sizes_N = np.array([len(ids) for ids in sentences], np.int64)
    starts = np.append(0, np.cumsum(sizes_N))
    ids = np.array([token for sentence in sentences for token in sentence], np.int64)
    owner = np.repeat(np.arange(len(sentences)), sizes_N)
    for part, part_starts in _chunks(tokens, offsets):
        place, length = _runs(ids, starts, part, part_starts)
        np.maximum.at(longest_N, owner[place], length)
    return longest_N


def _chunks(tokens: npt.NDArray[np.integer], offsets: Ints) -> list[tuple[Ints, Ints]]:
    """The corpus in parts of whole sentences: (tokens, offsets)."""
    parts, first = [], 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + _CHUNK, side="right")) - 1
        last = min(max(last, first + 1), len(offsets) - 1)
        bounds = np.asarray(offsets[first : last + 1], np.int64)
        parts.append((np.asarray(tokens[bounds[0] : bounds[-1]], np.int64), bounds - bounds[0]))
        first = last
    return parts


def _runs(ids: Ints, starts: Ints, corpus: Ints, corpus_starts: Ints) -> tuple[Ints, Ints]:
    """For each place in `ids` a run that starts there and is in the corpus: (places, lengths).

    A place comes once for each length from 1 to its longest.
    """
    mine, theirs = np.arange(len(ids)), np.arange(len(corpus))
    my_end, their_end = _ends(starts), _ends(corpus_starts)
    my_key, their_key = ids, corpus  # equal where the runs are
    places, lengths, n = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 1
    while len(mine):
        kept, known = np.isin(my_key, their_key), np.isin(their_key, my_key)
        mine, my_key = mine[kept], my_key[kept]
        theirs, their_key = theirs[known], their_key[known]
        places.append(mine)
        lengths.append(np.full(len(mine), n))
        longer, theirs_longer = mine + n < my_end[mine], theirs + n < their_end[theirs]
        mine, my_key = mine[longer], my_key[longer]
        theirs, their_key = theirs[theirs_longer], their_key[theirs_longer]
        pairs = np.concatenate([_pair(my_key, ids[mine + n]), _pair(their_key, corpus[theirs + n])])
        _, keys = np.unique(pairs, return_inverse=True)
        my_key, their_key, n = keys[: len(mine)], keys[len(mine) :], n + 1
    return np.concatenate(places), np.concatenate(lengths)


def _pair(key: Ints, token: Ints) -> Ints:
    """One number for a run and the token behind it; keys are below 2^31, and so are tokens."""
    return (key << 31) | token


def _ends(starts: Ints) -> Ints:
    """For each token the place behind its sentence."""
    return np.repeat(starts[1:], np.diff(starts))
