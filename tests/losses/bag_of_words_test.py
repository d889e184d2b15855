"""The bag-of-words loss against a plain softmax in numpy."""

import jax
import numpy as np
import pytest

from vaetx_jax.losses.bag_of_words import BagWeights, bag_of_words_nll, fresh_bag

B, T, Z, V = 3, 5, 4, 11
NOISE = np.random.default_rng(0)
Z_BXZ = NOISE.standard_normal((B, Z)).astype(np.float32)
WEIGHTS = BagWeights(
    NOISE.standard_normal((Z, V)).astype(np.float32), NOISE.standard_normal(V).astype(np.float32)
)
TARGET_BXT = NOISE.integers(1, V, (B, T)).astype(np.int32)
MASK_BXT = np.arange(T)[None] < np.asarray([[5], [2], [0]])


def test_the_loss_is_each_sentences_sum_under_one_softmax():
    logits_BxV = Z_BXZ.astype(np.float64) @ WEIGHTS.kernel_ZxV + WEIGHTS.bias_V
    log_p_BxV = logits_BxV - np.log(np.exp(logits_BxV).sum(axis=1, keepdims=True))
    expected = [
        -sum(log_p_BxV[b, TARGET_BXT[b, t]] for t in range(T) if MASK_BXT[b, t]) for b in range(B)
    ]
    got = bag_of_words_nll(Z_BXZ, WEIGHTS, TARGET_BXT, MASK_BXT)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_what_the_padding_holds_does_not_matter():
    other = np.where(MASK_BXT, TARGET_BXT, 0)
    got, padded = (bag_of_words_nll(Z_BXZ, WEIGHTS, ids, MASK_BXT) for ids in (TARGET_BXT, other))
    np.testing.assert_array_equal(got, padded)


def test_before_training_every_token_is_as_likely():
    got = bag_of_words_nll(Z_BXZ, fresh_bag(Z, V), TARGET_BXT, MASK_BXT)
    np.testing.assert_allclose(got, [5 * np.log(V), 2 * np.log(V), 0.0], rtol=1e-6)


def test_no_array_has_a_row_of_logits_for_each_position():
    def loss(z, weights):
        return bag_of_words_nll(z, weights, TARGET_BXT, MASK_BXT).sum()

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (x.aval.size for x in equation.outvars)
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    yield from sizes(inner)

    traced = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(Z_BXZ, WEIGHTS)
    assert max(sizes(traced.jaxpr)) < B * T * V
    assert max(sizes(traced.jaxpr)) == pytest.approx(Z * V)
