"""Batches of sentences in a few fixed shapes.

A row's length depends on its sentence alone and every batch has the same number of rows, so that
what is computed of a sentence does not depend on the others.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from vaetx_jax.data.tokenizers.kept_words import words_kept
from vaetx_jax.data.tokenizers.tokenizers import Tokenizer
from vaetx_jax.runtime.console import Progress

T = TypeVar("T")

BATCH = 64
WINDOW = 4096  # sentences tokenized at a time, so that memory does not grow with their number


@dataclasses.dataclass(frozen=True)
class Rows:
    """A batch of at most B sentences; the rows left over repeat the last of them.

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
    sentences: Sequence[str], tokenizer: Tokenizer, max_len: int, *, done: str
) -> Iterator[Rows]:
    """All sentences as batches; a long input shows its progress.

    Args:
      done: the word of the progress line, such as 'encoded'.
    """
    progress, finished = Progress(len(sentences)), 0
    for start in range(0, len(sentences), WINDOW):
        tokens = truncated_tokens(tokenizer, sentences[start : start + WINDOW], max_len)
        for rows in rows_by_length(tokens, tokenizer, max_len):
            yield Rows(start + rows.numbers, rows.ids_BxS)
            finished += len(rows.numbers)
            if len(sentences) > WINDOW:
                progress.tick(finished, done)
    progress.clear()


def truncated_tokens(tokenizer: Tokenizer, texts: Sequence[str], max_len: int) -> list[list[int]]:
    """The tokens of each text without special ids, the first `max_len - 2` of a longer one."""
    return [ids[: max_len - 2] for ids in tokenizer.encode(list(texts))]


def rows_by_length(
    tokens: Sequence[Sequence[int]], tokenizer: Tokenizer, max_len: int
) -> Iterator[Rows]:
    """Batches of rows of like length, each sentence in one of them."""
    classes = length_classes(max_len)
    class_N = np.searchsorted(classes, [len(ids) + 2 for ids in tokens])
    for number in np.unique(class_N):
        members = np.flatnonzero(class_N == number)
        for start in range(0, len(members), BATCH):
            numbers = members[start : start + BATCH]
            ids_BxS = np.full((BATCH, classes[number]), tokenizer.pad_id, np.int32)
            for row, sentence in enumerate(numbers):
                line = [tokenizer.cls_id, *tokens[sentence], tokenizer.sep_id]
                ids_BxS[row, : len(line)] = line
            ids_BxS[len(numbers) :] = ids_BxS[len(numbers) - 1]
            yield Rows(numbers, ids_BxS)


def length_classes(max_len: int) -> list[int]:
    """The possible row lengths: 8, 12, 16, 24, 32, 48, 64 and so on up to `max_len`."""
    lengths, step = [8], 4
    while lengths[-1] < max_len:
        lengths.append(lengths[-1] + step)
        step = step if (len(lengths) % 2) == 0 else 2 * step
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
