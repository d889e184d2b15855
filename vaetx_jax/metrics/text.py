"""Generated text against a corpus: variety, repetition, length. Words are split at whitespace.

Each figure says little without the corpus's own value, so both are always given.
"""

import collections
from collections.abc import Sequence
from typing import Any

REPEATED = 4  # words of the n-gram that a sentence should not say twice


def text_metrics(samples: Sequence[str], corpus: Sequence[str]) -> dict[str, Any]:
    """Figures of sampled sentences, each beside the corpus's, whose name begins with `corpus_`.

    Args:
      samples: at least one.
      corpus: sentences in an order that says nothing. Distinct n-grams get rarer the more text
        there is, so they are counted in as many of them as there are samples, from the first on;
        the other figures are of all.

    Returns:
      `samples`, their number; `distinct_1` and `distinct_2`, different n-grams / all n-grams
      (Li et al., 2016); `repeated_4`, the share of sentences that hold a 4-gram more than once;
      `words`, the mean length. None where there is no n-gram.
    """
    figures: dict[str, Any] = {"samples": len(samples)}
    as_many = corpus[: len(samples)]
    for n in (1, 2):
        figures[f"distinct_{n}"] = distinct(samples, n)
        figures[f"corpus_distinct_{n}"] = distinct(as_many, n)
    for prefix, sentences in (("", samples), ("corpus_", corpus)):
        repeating = sum(repeats(sentence, REPEATED) for sentence in sentences)
        lengths = [len(sentence.split()) for sentence in sentences]
        count = max(len(sentences), 1)
        figures[f"{prefix}repeated_{REPEATED}"] = repeating / count
        figures[f"{prefix}words"] = sum(lengths) / count
    return figures


def distinct(sentences: Sequence[str], n: int) -> float | None:
    """Different n-grams / all n-grams of all sentences together; None where there is none."""
    counts: collections.Counter[tuple[str, ...]] = collections.Counter()
    for sentence in sentences:
        counts.update(_ngrams(sentence, n))
    return len(counts) / counts.total() if counts else None


def repeats(sentence: str, n: int) -> bool:
    """Whether a sentence holds an n-gram more than once."""
    ngrams = _ngrams(sentence, n)
    return len(set(ngrams)) < len(ngrams)


def _ngrams(sentence: str, n: int) -> list[tuple[str, ...]]:
    words = sentence.split()
    return list(zip(*(words[i:] for i in range(n)), strict=False))
