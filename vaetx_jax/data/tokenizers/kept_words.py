"""The number of words that are still complete in a cut sentence, for any tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaetx_jax.data.tokenizers.tokenizers import Tokenizer

_WORD = re.compile(r"\S+")  # the words of str.split(), with their positions
_GUESSES = 6  # rounds of guessing by proportion before bisection, which always ends soon


def words_kept(texts: Sequence[str], kept: Sequence[list[int]], tokenizer: Tokenizer) -> list[int]:
    """Counts the leading whitespace words of which every token was kept.

    It is the largest k for which the first k words alone encode to a prefix of the kept ids, so it
    asks nothing of the tokenizer but that more words are never fewer tokens. All sentences are
    searched together, because tokenizers are fast on lists.

    Args:
      texts: the sentences that were cut.
      kept: for each sentence the ids that are left of it.
      tokenizer: the one that made the ids.
    """
    searches = [_Search(text, ids) for text, ids in zip(texts, kept, strict=True)]
    rounds = 0
    while going := [search for search in searches if search.unfit - search.fit > 1]:
        numbers = [search.guess(rounds) for search in going]
        prefixes = [search.prefix(k) for search, k in zip(going, numbers, strict=True)]
        for search, k, ids in zip(going, numbers, tokenizer.encode(prefixes), strict=True):
            search.note(k, ids)
        rounds += 1
    for search in searches:
        # A tokenizer that looks across words may encode a prefix otherwise than the sentence.
        while search.fit_ids != search.kept[: len(search.fit_ids)]:
            search.fit -= 1
            search.fit_ids = tokenizer.encode([search.prefix(search.fit)])[0] if search.fit else []
    return [search.fit for search in searches]


class _Search:
    """A search between `fit` words, which are few enough tokens, and `unfit`, which are not."""

    def __init__(self, text: str, kept: list[int]) -> None:
        self.text = text
        self.kept = kept
        self.ends = [0] + [word.end() for word in _WORD.finditer(text)]
        self.fit, self.unfit = 0, len(self.ends)
        self.fit_ids: list[int] = []
        self.unfit_size = 0  # 0: not known

    def prefix(self, words: int) -> str:
        return self.text[: self.ends[words]]

    def guess(self, rounds: int) -> int:
        """A number of words between the two."""
        if not self.unfit_size:
            # Never far beyond what is known to fit: a line may be a million characters long.
            words = max(2 * self.fit, len(self.kept))
        elif rounds < _GUESSES:
            share = (len(self.kept) + 0.5 - len(self.fit_ids)) / (
                self.unfit_size - len(self.fit_ids)
            )
            words = self.fit + round(share * (self.unfit - self.fit))
        else:
            words = (self.fit + self.unfit) // 2
        return min(max(words, self.fit + 1), self.unfit - 1)

    def note(self, words: int, ids: list[int]) -> None:
        """Narrows the search by the ids of a prefix."""
        if len(ids) <= len(self.kept):
            self.fit, self.fit_ids = words, ids
        else:
            self.unfit, self.unfit_size = words, len(ids)
