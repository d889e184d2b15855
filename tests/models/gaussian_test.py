"""Gaussians against quadrature, scipy and posteriors whose mutual information is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from vaetx_jax.metrics import latent
from vaetx_jax.models import gaussian

POSTERIORS = [(0.0, 0.0), (1.7, -0.4), (-2.5, 1.1), (0.3, -6.0), (4.0, 2.0)]


def posteriors(n, latent_dim, *, seed=0, spread=1.0):
    noise = np.random.default_rng(seed)
    mu = spread * noise.standard_normal((n, latent_dim))
    logvar = noise.uniform(-3.0, 1.0, (n, latent_dim))
    z = mu + np.exp(0.5 * logvar) * noise.standard_normal((n, latent_dim))
    return tuple(a.astype(np.float32) for a in (z, mu, logvar))


def mutual_information_by_loops(z, mu, logvar):
    z, mu, std = (np.asarray(a, np.float64) for a in (z, mu, np.exp(0.5 * np.float64(logvar))))
    density_NxN = np.array(
        [
            [np.prod(stats.norm.pdf(z[n], mu[m], std[m])) for m in range(len(mu))]
            for n in range(len(z))
        ]
    )
    return np.mean(np.log(np.diag(density_NxN)) - np.log(density_NxN.mean(axis=1)))


@pytest.mark.parametrize(("mu", "logvar"), POSTERIORS)
def test_kl_is_the_integral_it_stands_for(mu, logvar):
    std = math.exp(0.5 * logvar)
    posterior, prior = stats.norm(mu, std), stats.norm(0, 1)

    def integrand(z):
        return posterior.pdf(z) * (posterior.logpdf(z) - prior.logpdf(z))

    expected, _ = integrate.quad(integrand, mu - 12 * std, mu + 12 * std, epsabs=1e-10)
    got = gaussian.kl_to_prior(jnp.float32(mu), jnp.float32(logvar))
    assert float(got) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_kl_is_one_number_a_dimension():
    mu, logvar = jnp.asarray([[1.0, 0.0, 2.0]]), jnp.zeros((1, 3))
    np.testing.assert_allclose(gaussian.kl_to_prior(mu, logvar), [[0.5, 0.0, 2.0]], rtol=1e-6)


def test_gradient_of_kl_pulls_towards_the_prior():
    mu, logvar = jnp.float32(1.5), jnp.float32(0.8)
    gradient = jax.grad(gaussian.kl_to_prior, argnums=(0, 1))(mu, logvar)
    np.testing.assert_allclose(gradient, (1.5, 0.5 * (math.exp(0.8) - 1.0)), rtol=1e-6)


def test_a_sample_has_the_moments_of_its_posterior():
    n = 100_000
    mu = jnp.broadcast_to(jnp.asarray([-1.0, 2.0]), (n, 2))
    logvar = jnp.broadcast_to(jnp.log(jnp.asarray([0.25, 9.0])), (n, 2))
    z = np.asarray(gaussian.sample(jax.random.key(3), mu, logvar), np.float64)
    error = np.sqrt([0.25, 9.0]) / math.sqrt(n)
    assert np.all(np.abs(z.mean(axis=0) - [-1.0, 2.0]) < 4.5 * error)
    np.testing.assert_allclose(z.var(axis=0), [0.25, 9.0], rtol=4.5 * math.sqrt(2 / n))
    assert abs(np.corrcoef(z.T)[0, 1]) < 4.5 / math.sqrt(n)
    assert stats.kstest((z[:, 0] + 1.0) / 0.5, "norm").pvalue > 1e-4


def test_a_sample_is_reparameterised():
    mu, logvar = jnp.asarray([0.5, -1.0]), jnp.asarray([0.2, -0.7])
    key = jax.random.key(0)
    z = gaussian.sample(key, mu, logvar)
    by_mu, by_logvar = jax.jacrev(gaussian.sample, argnums=(1, 2))(key, mu, logvar)
    np.testing.assert_allclose(by_mu, np.eye(2), atol=1e-7)
    np.testing.assert_allclose(by_logvar, np.diag(0.5 * np.asarray(z - mu)), atol=1e-6)


@pytest.mark.parametrize("narrower", [0.0, 30.0])
def test_log_density_of_a_draw_is_scipys_however_narrow_the_posterior(narrower):
    eps, mu, logvar = posteriors(7, 5)
    std = np.exp(0.5 * (np.float64(logvar) - narrower))
    expected = stats.norm.logpdf(mu + std * np.float64(eps), mu, std).sum(axis=1)
    got = gaussian.log_density_of_draw(eps, logvar - np.float32(narrower))
    np.testing.assert_allclose(got, expected, rtol=2e-6)


def test_log_prior_is_scipys():
    z, _, _ = posteriors(7, 5)
    np.testing.assert_allclose(
        gaussian.log_prior(jnp.asarray(z)), stats.norm.logpdf(z).sum(axis=1), rtol=2e-6
    )


def test_mutual_information_of_well_separated_posteriors_is_ln_n():
    mu = 100.0 * np.arange(50, dtype=np.float32)[:, None]
    logvar = np.zeros_like(mu)
    assert latent.mutual_information(mu + 0.3, mu, logvar) == pytest.approx(math.log(50))


def test_mutual_information_of_two_separated_halves_is_ln_2():
    mu = np.repeat([[-60.0], [60.0]], 40, axis=0)
    z = mu + np.random.default_rng(0).standard_normal(mu.shape)
    got = latent.mutual_information(z, mu, np.zeros_like(mu))
    assert got == pytest.approx(math.log(2))


def test_mutual_information_of_identical_posteriors_is_zero():
    mu, logvar = np.full((60, 3), 0.7), np.full((60, 3), -1.3)
    z = mu + np.random.default_rng(0).standard_normal(mu.shape)
    assert latent.mutual_information(z, mu, logvar) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("signal_to_noise", [(0.5,), (3.0,), (3.0, 1.0)])
def test_mutual_information_of_a_gaussian_channel_is_its_capacity(signal_to_noise):
    n, noise = 3000, np.random.default_rng(1)
    signal = np.asarray(signal_to_noise)
    mu = noise.standard_normal((n, len(signal))) * np.sqrt(signal)
    z = mu + noise.standard_normal(mu.shape)
    expected = 0.5 * np.sum(np.log1p(signal))
    got = latent.mutual_information(z, mu, np.zeros_like(mu))
    # The log ratio's standard deviation is below 1 a dimension; the mixture of n adds O(1 / n).
    assert got == pytest.approx(expected, abs=4 * math.sqrt(len(signal) / n))


def test_mutual_information_is_that_of_plain_loops():
    figures = posteriors(23, 3)
    got = latent.mutual_information(*figures)
    assert got == pytest.approx(mutual_information_by_loops(*figures), rel=1e-9)


@pytest.mark.parametrize("block", [1, 7, 23, 64])
def test_mutual_information_does_not_depend_on_the_block(block):
    figures = posteriors(23, 3)
    whole = latent.mutual_information(*figures)
    assert latent.mutual_information(*figures, block=block) == pytest.approx(whole, rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40),
    st.integers(1, 4),
    st.sampled_from([0.0, 1.0, 30.0]),
    st.floats(-18.0, 4.0),
    st.integers(0, 10),
)
def test_mutual_information_never_exceeds_ln_n(n, latent_dim, spread, logvar, seed):
    _, mu, _ = posteriors(n, latent_dim, seed=seed, spread=spread)
    logvars = np.full_like(mu, logvar)
    z = mu + np.exp(0.5 * logvars) * np.random.default_rng(seed).standard_normal(mu.shape)
    got = latent.mutual_information(z.astype(np.float32), mu, logvars)
    assert got <= math.log(n) + 1e-12


def test_mutual_information_of_narrow_posteriors_that_coincide_is_still_right():
    # Two sentences share each posterior; large terms cancel in the products of the estimator.
    mu = np.repeat(np.linspace(-8, 8, 20, dtype=np.float32), 2)[:, None]
    logvar = np.full_like(mu, -12.0)
    z = mu + np.float32(math.exp(-6.0)) * np.random.default_rng(0).standard_normal(mu.shape)
    got = latent.mutual_information(z.astype(np.float32), mu, logvar)
    assert got == pytest.approx(math.log(20), abs=1e-5)


def test_mi_b32_is_the_mean_over_full_batches_in_corpus_order():
    figures = posteriors(64 + 9, 2)
    parts = [tuple(a[s : s + 32] for a in figures) for s in (0, 32)]
    expected = np.mean([mutual_information_by_loops(*part) for part in parts])
    got = latent.mutual_information_in_batches(*figures)
    assert got == pytest.approx(expected, rel=1e-9)


def test_mi_b32_sees_no_difference_between_batches():
    # Each batch holds one posterior 32 times: within it nothing can be told apart.
    mu = np.repeat(100.0 * np.arange(4.0), 32)[:, None]
    z = mu + np.random.default_rng(0).standard_normal(mu.shape)
    logvar = np.zeros_like(mu)
    assert latent.mutual_information_in_batches(z, mu, logvar) == pytest.approx(0, abs=1e-9)
    assert latent.mutual_information(z, mu, logvar) == pytest.approx(math.log(4))


def test_mi_b32_of_separated_posteriors_is_ln_32():
    mu = 100.0 * np.arange(70, dtype=np.float32)[:, None]
    got = latent.mutual_information_in_batches(mu, mu, np.zeros_like(mu))
    assert got == pytest.approx(math.log(32))


def test_mi_b32_of_a_split_shorter_than_a_batch_is_that_of_the_split():
    figures = posteriors(11, 2)
    got = latent.mutual_information_in_batches(*figures)
    assert got == latent.mutual_information(*figures)


@pytest.mark.parametrize("shape", [(0, 4), (5, 0), (0, 0)])
def test_without_rows_or_without_a_latent_nothing_is_shared(shape):
    empty = (np.zeros(shape),) * 3
    assert latent.mutual_information(*empty) == 0.0
    assert latent.mutual_information_in_batches(*empty) == 0.0
    assert latent.active_units(empty[0]) == 0


def test_active_units_are_those_whose_mean_varies_by_more_than_a_hundredth():
    sign = np.where(np.arange(40) % 2, 1.0, -1.0)  # variance 1, mean 0
    std = np.sqrt([0.0, 0.0099, 0.0101, 0.5])
    mu = (sign[:, None] * std + [0.0, 5.0, -1000.0, 3.0]).astype(np.float32)
    assert latent.active_units(mu) == 2
