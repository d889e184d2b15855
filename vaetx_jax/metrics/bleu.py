"""BLEU of sentences whose words are split at whitespace, and self-BLEU.

Corpus-level BLEU-4 of Papineni et al. (2002), from 0 to 100. The figures are those of sacrebleu
(Post, 2018) with `tokenize="none"`, one reference a sentence, and its default smoothing: an order
without a match counts half a match, the next such order a quarter, and so on.
"""

import bisect
import collections
import math
from collections.abc import Sequence

ORDER = 4  # the longest n-gram

_Ngrams = collections.Counter[tuple[str, ...]]


def bleu(sentences: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of sentences against one reference each; 0 where there is none.

    Raises:
      ValueError: there are not as many references as sentences.
    """
    matches, totals, length, wanted = [0] * ORDER, [0] * ORDER, 0, 0
    for sentence, reference in zip(sentences, references, strict=True):
        words, theirs = sentence.split(), reference.split()
        length, wanted = length + len(words), wanted + len(theirs)
        for n in range(1, ORDER + 1):
            mine = _ngrams(words, n)
            matches[n - 1] += (mine & _ngrams(theirs, n)).total()
            totals[n - 1] += mine.total()
    return _score(matches, totals, length, wanted)


def self_bleu(sentences: Sequence[str]) -> float:
    """BLEU of each sentence with all others as its references (Zhu et al., 2018).

    100 where every sentence comes twice; the lower, the more varied. It rises with the number of
    sentences, so compare as many. The counts of all sentences are added up before the score is
    taken. It takes time in proportion to the number of words, not to its square.
    """
    split = [sentence.split() for sentence in sentences]
    matches, totals = [0] * ORDER, [0] * ORDER
    for n in range(1, ORDER + 1):
        counts = [_ngrams(words, n) for words in split]
        most = _two_largest(counts)
        for mine in counts:
            for ngram, count in mine.items():
                largest, second = most[ngram]
                # The largest may be the sentence's own: that of the others is then the second.
                others = second if count == largest else largest
                matches[n - 1] += min(count, others)
            totals[n - 1] += mine.total()
    lengths = [len(words) for words in split]
    wanted = _closest_others(lengths) if len(split) > 1 else 0
    return _score(matches, totals, sum(lengths), wanted)


def _two_largest(counts: Sequence[_Ngrams]) -> dict[tuple[str, ...], tuple[int, int]]:
    """The largest and the second largest count of each n-gram in any one sentence."""
    most: dict[tuple[str, ...], tuple[int, int]] = {}
    for mine in counts:
        for ngram, count in mine.items():
            largest, second = most.get(ngram, (0, 0))
            if count > largest:
                most[ngram] = count, largest
            elif count > second:
                most[ngram] = largest, count
    return most


def _closest_others(lengths: Sequence[int]) -> int:
    """The sum over sentences of the length of another that is closest to its own."""
    known, total = sorted(lengths), 0
    for length in lengths:
        place = bisect.bisect_left(known, length)
        # Its own length stands at `place`; an equal one of another sentence would stand next to it.
        around = known[max(place - 1, 0) : place] + known[place + 1 : place + 2]
        total += min(around, key=lambda other: (abs(other - length), other))
    return total


def _score(matches: Sequence[int], totals: Sequence[int], length: int, wanted: int) -> float:
    """The geometric mean of the precisions, times the penalty for too few words."""
    if not any(matches) or not all(totals):
        return 0.0
    halves, logs = 1.0, 0.0
    for match, total in zip(matches, totals, strict=True):
        if not match:
            halves *= 2.0
        logs += math.log((match or 1.0 / halves) / total)
    penalty = math.exp(min(0.0, 1.0 - wanted / length))
    return 100.0 * penalty * math.exp(logs / ORDER)


def _ngrams(words: Sequence[str], n: int) -> _Ngrams:
    return collections.Counter(zip(*(words[i:] for i in range(n)), strict=False))
