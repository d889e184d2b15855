"""Metrics of text, against figures counted by hand."""

import pytest

from vaetx_jax.metrics.text import distinct, repeats, text_metrics


def test_distinct_counts_different_ngrams_over_all_sentences_together():
    sentences = ["a b a", "a b c"]
    assert distinct(sentences, 1) == pytest.approx(3 / 6)  # a b c
    assert distinct(sentences, 2) == pytest.approx(3 / 4)  # ab ba ab bc


def test_pairs_do_not_reach_over_the_end_of_a_sentence():
    assert distinct(["a b", "c a", "b c"], 2) == 1.0


def test_where_there_is_no_ngram_there_is_no_share():
    assert distinct(["a", ""], 2) is None


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("a b c d a b c d", True),
        ("a a a a a", True),  # overlapping
        ("a b c d a b c e", False),
        ("a b c", False),
        ("", False),
    ],
)
def test_a_sentence_repeats_itself_where_a_4_gram_comes_twice(sentence, expected):
    assert repeats(sentence, 4) is expected


def test_every_figure_of_samples_stands_beside_the_corpuss():
    samples = ["a a a a a", "b c"]
    corpus = ["a b", "c d", "a b c d", "a b c d a b c d"]
    assert text_metrics(samples, corpus) == pytest.approx(
        {
            "samples": 2,
            "distinct_1": 3 / 7,
            "corpus_distinct_1": 4 / 4,  # of as many sentences as there are samples
            "distinct_2": 2 / 5,
            "corpus_distinct_2": 2 / 2,
            "repeated_4": 1 / 2,
            "corpus_repeated_4": 1 / 4,
            "words": 3.5,
            "corpus_words": 4.0,
        }
    )
