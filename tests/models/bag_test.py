"""The bag-of-words encoder against sums written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.models.bag import BagEncoder

PIECES = [[5, 6, 6], [7], []]
IDS_BxT = jnp.asarray(tiny.rows_of(PIECES, 7)[:, :-1])
MASK_BxT = jnp.asarray(tiny.rows_of(PIECES, 7)[:, 1:] != tiny.PAD)
NOISE = np.random.default_rng(0)
TABLE_VxD = NOISE.standard_normal((tiny.VOCABULARY, 3)).astype(np.float32)
WEIGHT_V = NOISE.uniform(0.5, 2.0, tiny.VOCABULARY).astype(np.float32)
VARIABLES = {
    "params": {"embedding": {"embedding": TABLE_VxD}},
    "statistics": {"weight": WEIGHT_V},
}


def summary(word_dropout=0.0, **options):
    bag = BagEncoder(tiny.VOCABULARY, 3, word_dropout)
    options = {"deterministic": True} | options
    return np.asarray(bag.apply(VARIABLES, IDS_BxT, MASK_BxT, **options))


@pytest.mark.parametrize("row", [0, 1])
def test_a_summary_is_the_tokens_sum_over_the_length_of_their_weights(row):
    tokens = PIECES[row]
    expected = TABLE_VxD[tokens].sum(axis=0) / np.sqrt(np.sum(WEIGHT_V[tokens] ** 2))
    np.testing.assert_allclose(summary()[row], expected, rtol=1e-5)


def test_an_empty_sentence_has_a_summary_of_zeros():
    np.testing.assert_array_equal(summary()[2], np.zeros(3))


def test_fresh_weights_are_one():
    bag = BagEncoder(tiny.VOCABULARY, 3)
    fresh = bag.init(jax.random.key(0), IDS_BxT, MASK_BxT, deterministic=True)
    np.testing.assert_array_equal(fresh["statistics"]["weight"], np.ones(tiny.VOCABULARY))


def test_word_dropout_lets_the_kept_tokens_stand_for_all():
    """A sentence of one token said twice: whichever is left out, the sum stays the same."""
    ids_BxT = jnp.asarray(tiny.rows_of([[6, 6]] * 64, 4)[:, :-1])
    mask_BxT = jnp.ones_like(ids_BxT, bool)
    bag = BagEncoder(tiny.VOCABULARY, 3, 0.5)
    rngs = {"dropout": jax.random.key(0)}
    got = np.asarray(bag.apply(VARIABLES, ids_BxT, mask_BxT, deterministic=False, rngs=rngs))
    whole = np.asarray(bag.apply(VARIABLES, ids_BxT, mask_BxT, deterministic=True))
    empty = np.all(got == 0, axis=1)
    np.testing.assert_allclose(got[~empty], whole[~empty], rtol=1e-5)
    assert 4 <= empty.sum() <= 30  # a quarter of 64 lose both


def test_word_dropout_is_of_training_alone():
    np.testing.assert_array_equal(summary(word_dropout=0.5), summary())
