"""Batches of sentences in a few fixed shapes.

A program is compiled for each shape, so there are few: of lengths, the next of `length_classes`,
and of batches, those of `SIZES` that a call's rows fill best. A row's length depends on its
sentence alone, and what is computed of a row does not depend on the others; a batch of another
size may round it otherwise.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from vaetx_jax.data.tokenizers.kept_words import words_kept
from vaetx_jax.data.tokenizers.tokenizers import Tokenizer
from vaetx_jax.runtime.console import Progress

T = TypeVar("T")

BATCH = 64
SIZES = (8,)  # of smaller batches
WINDOW = 4096  # sentences tokenized at a time, so that memory does not grow with their number


@dataclasses.dataclass(frozen=True)
class Rows:
    """A batch of at most B sentences; the rows left over repeat some of them.

    Attributes:
      numbers: the sentences' indices in the sequence that was given.
      ids_BxS: `[CLS] x1 .. xn [SEP] [PAD] ..`, int32.
    """

    numbers: np.ndarray
    ids_BxS: np.ndarray


def windows(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while window := list(itertools.islice(iterator, size)):
        yield window


def batches_of(
    sentences: Sequence[str],
    tokenizer: Tokenizer,
    max_len: int,
    *,
    done: str,
    multiple: int = 1,
) -> Iterator[Rows]:
    """All sentences as batches; a long input shows its progress.

    Args:
      done: the word of the progress line, such as 'encoded'.
      multiple: the numbers of rows are multiples of it, for devices that share them.
    """
    progress, finished = Progress(len(sentences)), 0
    for start in range(0, len(sentences), WINDOW):
        tokens = truncated_tokens(tokenizer, sentences[start : start + WINDOW], max_len)
        for rows in rows_by_length(tokens, tokenizer, max_len, multiple=multiple):
            yield Rows(start + rows.numbers, rows.ids_BxS)
            finished += len(rows.numbers)
            if len(sentences) > WINDOW:
                progress.tick(finished, done)
    progress.clear()


def truncated_tokens(tokenizer: Tokenizer, texts: Sequence[str], max_len: int) -> list[list[int]]:
    """The tokens of each text without special ids, the first `max_len - 2` of a longer one.

    Spaces at its ends are no part of a sentence, as in training.
    """
    return [ids[: max_len - 2] for ids in tokenizer.encode([text.strip() for text in texts])]


def rows_by_length(
    tokens: Sequence[Sequence[int]], tokenizer: Tokenizer, max_len: int, *, multiple: int = 1
) -> Iterator[Rows]:
    """Batches of rows of like length, each sentence in one of them.

    Args:
      multiple: the numbers of rows are multiples of it, for devices that share them.
    """
    classes, most = length_classes(max_len), largest_batch(len(tokens))
    class_N = np.searchsorted(classes, [len(ids) + 2 for ids in tokens])
    for number in np.unique(class_N):
        members = np.flatnonzero(class_N == number)
        ids_MxS = np.full((len(members), classes[number]), tokenizer.pad_id, np.int32)
        for row_S, sentence in zip(ids_MxS, members.tolist(), strict=True):
            line = [tokenizer.cls_id, *tokens[sentence], tokenizer.sep_id]
            row_S[: len(line)] = line
        for at_B, size in batches_of_rows(len(members), most=most):
            filled_B = np.resize(at_B, -(-size // multiple) * multiple)
            yield Rows(members[at_B], ids_MxS[filled_B])


def largest_batch(count: int, batch: int = BATCH) -> int:
    """The largest batch of a call with `count` rows: a row alone is not filled up."""
    return 1 if count == 1 else batch


def batches_of_rows(count: int, *, most: int = BATCH) -> Iterator[tuple[np.ndarray, int]]:
    """(indices of some rows [<= B], size B of their batch), until all are in one."""
    first = 0
    for size in batch_sizes(count, most=most):
        yield np.arange(first, min(first + size, count)), size
        first += size


def batch_sizes(count: int, *, most: int = BATCH, overhead: int = 1) -> tuple[int, ...]:
    """Sizes of batches that hold `count` rows: of `most` and `SIZES` those that cost least.

    Args:
      most: the largest size, as of `largest_batch`.
      overhead: what a batch costs beside its rows, in rows.
    """
    full, rest = divmod(count, most)
    return (most,) * full + _sizes_of_rest(rest, most, overhead)


def batch_cost(sizes: Sequence[int], overhead: int) -> int:
    """The cost of batches of these sizes, in rows."""
    return sum(sizes) + overhead * len(sizes)


@functools.lru_cache(maxsize=1024)
def _sizes_of_rest(count: int, most: int, overhead: int) -> tuple[int, ...]:
    if not count:
        return ()
    sizes = [*(size for size in SIZES if size < most), most]
    choices: list[tuple[int, ...]] = [(min(size for size in sizes if size >= count),)]
    smaller = [size for size in sizes if size < count]
    if smaller:
        choices.append((smaller[-1], *_sizes_of_rest(count - smaller[-1], most, overhead)))
    return min(choices, key=lambda chosen: batch_cost(chosen, overhead))


def length_classes(max_len: int) -> list[int]:
    """The possible row lengths, up to `max_len`: 8, 12, then four an octave: 16, 20, 24, 28, 32,
    40, 48, 56, 64, 80 and so on.
    """
    lengths = [8, 12]
    while lengths[-1] < max_len:
        octave = 1 << (lengths[-1].bit_length() - 1)
        lengths.append(lengths[-1] + max(4, octave // 4))
    return [length for length in lengths if length < max_len] + [max_len]


def count_words(
    tokenizer: Tokenizer, texts: Sequence[str], tokens: Sequence[list[int]], max_len: int
) -> tuple[np.ndarray, np.ndarray]:
    """(words kept whole [N], counted by whitespace; whether the sentence was cut [N])."""
    words_N = np.asarray([len(text.split()) for text in texts], np.int64)
    full = [n for n, ids in enumerate(tokens) if len(ids) == max_len - 2]
    uncut = [len(ids) for ids in tokenizer.encode([texts[n] for n in full])] if full else []
    cut = [n for n, size in zip(full, uncut, strict=True) if size > max_len - 2]
    kept = words_kept([texts[n] for n in cut], [tokens[n] for n in cut], tokenizer)
    words_N[cut] = kept
    cut_N = np.zeros(len(texts), bool)
    cut_N[cut] = True
    return words_N, cut_N
