"""The n-gram model, by hand."""

import math

import numpy as np
import pytest

from vaetx_jax.metrics.ngrams import NgramModel


def test_an_ngram_model_by_hand() -> None:
    # Unigrams of `0 1 end`, `0 end`: 0 twice, 1 once, the end twice, three types, V = 4.
    model = NgramModel([[0, 1], [0]], vocab_size=4, end=3, order=2)
    zero, end = (2 + 3 / 4) / 8, (2 + 3 / 4) / 8
    unigrams = model.nats([[0]], order=1)
    assert unigrams.total_N == pytest.approx([-math.log(zero) - math.log(end)])
    assert unigrams.end_N == pytest.approx([-math.log(end)])
    # A sentence begins with 0 both times; after 0 come 1 and the end, once each.
    begin, stop = (2 + zero) / 3, (1 + 2 * end) / 4
    assert model.nats([[0]]).total_N == pytest.approx([-math.log(begin) - math.log(stop)])


def test_an_unseen_context_leaves_the_shorter_one() -> None:
    model = NgramModel([[0, 1]], vocab_size=4, end=3, order=2)
    assert model.nats([[2]]).end_N == pytest.approx(model.nats([[2]], order=1).end_N)


def test_text_drawn_from_a_known_unigram_costs_its_entropy() -> None:
    share_V = np.array([0.5, 0.25, 0.125, 0.125])  # the last one ends a sentence
    drawn = np.random.default_rng(0).choice(4, 40_000, p=share_V)
    ends = np.flatnonzero(drawn == 3)
    sentences = [part[:-1].tolist() for part in np.split(drawn[: ends[-1] + 1], ends[:-1] + 1)]
    half = len(sentences) // 2
    model = NgramModel(sentences[:half], vocab_size=4, end=3, order=3)
    heldout = sentences[half:]
    nats = model.nats(heldout).total_N.sum() / sum(len(ids) + 1 for ids in heldout)
    assert nats == pytest.approx(-np.sum(share_V * np.log(share_V)), abs=0.02)
