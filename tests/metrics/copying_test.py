"""Copies of a corpus, against a search by brute force."""

import numpy as np
import pytest

from vaetx_jax.metrics import copying
from vaetx_jax.metrics.copying import longest_runs, whole_copies


def flat(sentences):
    """(tokens, offsets) as a split has them."""
    offsets = np.cumsum([0, *map(len, sentences)])
    return np.array([i for ids in sentences for i in ids], np.uint16), offsets


def longest_by_brute_force(sentence, corpus):
    runs = [sentence[i:j] for i in range(len(sentence)) for j in range(i + 1, len(sentence) + 1)]
    texts = [",".join(map(str, [-1, *other, -1])) for other in corpus]
    found = [run for run in runs if any(f",{','.join(map(str, run))}," in text for text in texts)]
    return max(map(len, found), default=0)


@pytest.mark.parametrize("chunk", [1 << 22, 7])
def test_the_longest_run_is_that_of_a_search(monkeypatch, chunk):
    monkeypatch.setattr(copying, "_CHUNK", chunk)
    draw = np.random.default_rng(0)
    corpus, drawn = (
        [draw.integers(4, 7, draw.integers(0, 9)).tolist() for _ in range(20)] for _ in range(2)
    )
    expected = [longest_by_brute_force(sentence, corpus) for sentence in drawn]
    assert longest_runs(drawn, *flat(corpus)).tolist() == expected
    assert min(len(s) - e for s, e in zip(drawn, expected, strict=True) if len(s) > 6) > 0


def test_a_run_does_not_reach_over_the_end_of_a_sentence():
    assert longest_runs([[1, 2, 3, 4]], *flat([[1, 2], [3, 4]])).tolist() == [2]


def test_a_copied_training_sentence_is_a_copy_and_a_part_of_one_is_not():
    corpus = flat([[5, 6, 7], [8], [9, 9]])
    assert whole_copies([[5, 6, 7], [9, 9]], *corpus).tolist() == [True, True]
    assert whole_copies([[5, 6], [6, 7], [8, 9], []], *corpus).tolist() == [False] * 4
    assert longest_runs([[5, 6, 7], [9, 9]], *corpus).tolist() == [3, 2]


def test_without_a_corpus_nothing_is_copied():
    assert longest_runs([[1, 2], []], *flat([])).tolist() == [0, 0]
    assert not whole_copies([[1, 2]], *flat([])).any()
