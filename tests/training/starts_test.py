"""Starts from a training split, against numpy."""

import numpy as np
import pytest
import scipy.sparse

from tests.helpers import tiny
from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.training.starts import (
    latent_output_kernel,
    latent_semantics,
    token_counts,
    unigrams,
)

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


def test_dimensions_that_a_small_corpus_does_not_have_stay_at_zero():
    found = latent_semantics(token_counts(SPLIT, tiny.VOCABULARY), 40, seed=0)
    fewer = latent_semantics(token_counts(SPLIT, tiny.VOCABULARY), 19, seed=0)
    assert found.table_VxZ.shape == (tiny.VOCABULARY, 40) and found.singular_Z.shape == (40,)
    np.testing.assert_array_equal(found.table_VxZ[:, :19], fewer.table_VxZ)
    assert np.all(found.table_VxZ[:, 19:] == 0) and np.all(found.singular_Z[19:] == 0)


@pytest.mark.parametrize("rows", [4, 50])
def test_equal_sentences_have_no_dimension_and_stay_finite(rows):
    """The deviation of 50 equal coordinates is rounding, and not 0."""
    counts = scipy.sparse.csr_array(np.tile([0.0, 1.0, 2.0, 3.0], (rows, 1)))
    found = latent_semantics(counts, 2, seed=0)
    assert np.all(found.table_VxZ == 0)


def test_the_outputs_projection_is_the_weighted_regression_written_out():
    counts, noise = counted(), np.random.default_rng(0)
    summary, kernel = noise.standard_normal((30, 2)), noise.standard_normal((tiny.VOCABULARY, 3))
    u = (summary - summary.mean(axis=0)) / summary.std(axis=0)
    shares = counts / counts.sum(axis=1, keepdims=True)
    p, df = shares.mean(axis=0) + 1e-9, (counts > 0).sum(axis=0)
    raises = np.array([[np.cov(share, one, bias=True)[0, 1] for one in u.T] for share in shares.T])
    raises *= (df / (df + 10) / p)[:, None]
    rows = (kernel - np.average(kernel, axis=0, weights=p)) * np.sqrt(p)[:, None]
    ridge = np.sqrt(1e-3 * np.mean(np.sum(rows**2, axis=0))) * np.eye(3)
    expected, *_ = np.linalg.lstsq(
        np.vstack([rows, ridge]), np.vstack([raises * np.sqrt(p)[:, None], np.zeros((3, 2))])
    )
    got = latent_output_kernel(token_counts(SPLIT, tiny.VOCABULARY), summary, kernel)
    np.testing.assert_allclose(got, 0.7 * expected.T, rtol=1e-5, atol=1e-8)
