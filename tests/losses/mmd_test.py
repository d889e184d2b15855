"""The MMD between latents and prior against two loops over pairs, and its distribution."""

import jax
import numpy as np
import pytest

from vaetx_jax.losses.mmd import SCALES, mmd

Z = 3
NOISE = np.random.default_rng(0)


def draws(count, shift=0.0, scale=1.0):
    return (shift + scale * NOISE.standard_normal((count, Z))).astype(np.float32)


def kernel_by_hand(a, b):
    square = np.sum(np.square(a.astype(np.float64) - b))
    return sum(2 * Z * s / (2 * Z * s + square) for s in SCALES)


def by_hand(z, prior):
    n = len(z)
    within = sum(
        kernel_by_hand(x[i], x[j]) for x in (z, prior) for i in range(n) for j in range(n) if i != j
    )
    between = sum(kernel_by_hand(a, b) for a in z for b in prior)
    return within / (n * (n - 1)) - 2 * between / n**2


def test_the_estimate_is_that_of_loops_over_all_pairs():
    z, prior = draws(5, shift=0.5), draws(5)
    got = float(mmd(z, prior, np.ones(5, np.float32)))
    assert got == pytest.approx(by_hand(z, prior), rel=1e-4)


def test_filler_counts_in_neither_sample():
    z, prior = draws(6, shift=0.5), draws(6)
    weight = np.asarray([1, 1, 0, 1, 1, 0], np.float32)
    real = weight > 0
    assert float(mmd(z, prior, weight)) == pytest.approx(by_hand(z[real], prior[real]), rel=1e-4)


@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_of_fewer_than_two_sentences_has_no_estimate_and_no_gradient(count):
    weight = (np.arange(2) < count).astype(np.float32)
    value, gradient = jax.value_and_grad(mmd)(draws(2), draws(2), weight)
    assert value == 0 and np.all(gradient == 0)


def test_it_is_zero_on_average_for_the_prior_and_positive_for_another_distribution():
    ones = np.ones(64, np.float32)
    same = [float(mmd(draws(64), draws(64), ones)) for _ in range(30)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(30)
    for other in (draws(64, shift=1.0), draws(64, scale=0.3)):
        assert float(mmd(other, draws(64), ones)) > max(same)


def test_its_gradient_pulls_latents_towards_the_prior():
    z, prior, ones = draws(32, shift=2.0), draws(32), np.ones(32, np.float32)
    gradient = jax.grad(mmd)(z, prior, ones)
    assert np.all(np.mean(gradient, axis=0) > 0)
