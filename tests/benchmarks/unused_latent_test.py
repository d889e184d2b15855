"""The simulated decoder that ignores z: its figures against closed forms and scipy's densities."""

import numpy as np
import pytest
from scipy import special, stats

from benchmarks import unused_latent
from vaetx_jax.metrics.latent import ACTIVE_VARIANCE

RATES = unused_latent.rates(3.0, 4, spread=1.0)


def test_the_rates_sum_to_the_budget_and_are_even_without_a_spread():
    assert RATES.sum() == pytest.approx(3.0) and RATES.min() > 3.0 * 0.25 / 4
    np.testing.assert_allclose(unused_latent.rates(8.0, 4, spread=0.0), 2.0)


def test_each_dimensions_mean_kl_is_its_rate_and_the_aggregated_posterior_has_variance_one():
    mu, logvar = unused_latent.posteriors(RATES, 50, seed=0)
    kl_NxZ = 0.5 * (np.exp(logvar) + mu**2 - 1 - logvar)
    np.testing.assert_allclose(kl_NxZ.mean(axis=0), RATES, rtol=1e-9)
    np.testing.assert_allclose(mu.var(axis=0) + np.exp(logvar[0]), 1.0, rtol=1e-9)


def test_the_shortfall_is_that_of_scipys_densities():
    mu, logvar = unused_latent.posteriors(RATES, 5, seed=0)
    found = unused_latent.shortfalls(mu, logvar, 7, seed=3)
    eps = np.random.default_rng(3).standard_normal((5, 7, 4), dtype=np.float32)
    deviation = np.exp(0.5 * logvar)[:, None]
    z = mu[:, None] + deviation * eps
    weight_BxK = stats.norm.logpdf(z).sum(2) - stats.norm.logpdf(z, mu[:, None], deviation).sum(2)
    np.testing.assert_allclose(found, np.log(7) - special.logsumexp(weight_BxK, axis=1), rtol=1e-6)


def test_sentences_are_taken_in_blocks_without_a_seam(monkeypatch):
    mu, logvar = unused_latent.posteriors(RATES, 9, seed=0)
    whole = unused_latent.shortfalls(mu, logvar, 3, seed=3)
    monkeypatch.setattr(unused_latent, "_BLOCK", 2 * 3 * 4)
    np.testing.assert_array_equal(unused_latent.shortfalls(mu, logvar, 3, seed=3), whole)


def test_with_one_sample_the_bound_is_behind_by_the_kl_and_with_more_by_less():
    found = unused_latent.row(RATES, sentences=2000, samples=(1, 10, 400))
    nats, error = found.behind[1]
    assert abs(nats - found.kl) < 4.5 * error
    assert found.behind[1][0] > found.behind[10][0] + 0.5 > found.behind[400][0] + 1.0
    assert found.behind[400][0] > 0


def test_all_units_count_as_active_and_mutual_information_as_high():
    found = unused_latent.row(RATES, sentences=500, samples=(1,))
    assert -np.expm1(-2 * RATES.min()) > ACTIVE_VARIANCE
    assert found.au == 4 and 2.5 < found.mi < 3.3  # the channel's is 3


def test_the_command_prints_a_row_for_each_latent(capsys):
    unused_latent.main(["--rate=2", "--dims", "3", "5", "--sentences=40", "--samples", "1", "4"])
    printed = capsys.readouterr().out
    assert "| 3 dimensions, evenly | 2.00 |" in printed and "| 3 of 3 | 0 | 0 |" in printed
    assert "| 5 dimensions, unevenly | 2.00 |" in printed
    assert "bound behind, K=4 |" in printed and "ln N = 3.69" in printed
