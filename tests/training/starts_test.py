"""Starts from a training split, against numpy."""

import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.errors import UserError
from vaetx_jax.training.starts import latent_semantics, token_counts, unigrams

PIECES = tiny.sentences(30, longest=6)


def split_of(pieces):
    ends = np.cumsum([0, *map(len, pieces)])
    tokens = np.concatenate([np.asarray(one, np.uint16) for one in pieces])
    zeros = np.zeros(len(pieces), np.int32)
    return TokenizedSplit(tokens, ends.astype(np.int64), zeros, zeros.astype(bool))


SPLIT = split_of(PIECES)


def counted():
    counts = np.zeros((len(PIECES), tiny.VOCABULARY))
    for row, tokens in zip(counts, PIECES, strict=True):
        np.add.at(row, tokens, 1)
    return counts


def test_unigrams_count_every_target_and_half_for_each_token():
    expected = counted().sum(axis=0) + 0.5
    expected[tiny.SEP] += len(PIECES)
    got = unigrams(SPLIT, tiny.VOCABULARY, sep=tiny.SEP)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-12)


def test_token_counts_are_each_sentences():
    np.testing.assert_array_equal(token_counts(SPLIT, tiny.VOCABULARY).toarray(), counted())


def test_latent_semantics_are_numpys_singular_vectors_with_unit_variance():
    counts = counted()
    weight_V = 1 / np.sqrt((counts > 0).sum(axis=0) + 10)
    rows = counts * weight_V / np.sqrt(counts @ weight_V**2)[:, None]
    _, singular, axes = np.linalg.svd(rows, full_matrices=False)
    found = latent_semantics(token_counts(SPLIT, tiny.VOCABULARY), 3, seed=0)
    np.testing.assert_allclose(found.singular_Z, singular[:3], rtol=1e-5)
    np.testing.assert_allclose(found.weight_V, weight_V)
    got = (counts / np.sqrt(counts @ weight_V**2)[:, None]) @ found.table_VxZ
    np.testing.assert_allclose(got.std(axis=0), np.ones(3), rtol=1e-6)
    expected = rows @ axes[:3].T
    expected /= expected.std(axis=0)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=0.02)


def test_more_dimensions_than_there_are_is_an_error_that_says_how_many():
    with pytest.raises(UserError, match=r"latent_dim = 40.* at most 19 dimensions in 30 sentences"):
        latent_semantics(token_counts(SPLIT, tiny.VOCABULARY), 40, seed=0)
