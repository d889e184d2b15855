"""The estimators of a split: against models whose log p(x) is known, and against themselves."""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from tests.helpers import tiny
from vaetx_jax.metrics.estimator import Estimates, Estimator
from vaetx_jax.metrics.summary import SplitFacts, notes, perplexity, summary, with_samples
from vaetx_jax.models.output_layer import OutputWeights

MODEL = tiny.vae(layers=1)
PIECES = tiny.sentences(13)


@pytest.fixture(scope="module")
def variables():
    return {"params": tiny.params_of(MODEL)}


@pytest.fixture(scope="module")
def estimator():
    return Estimator(MODEL, tiny.one_device(), seed=0)


def batches_of(pieces, order, size, *, length=0):
    """The sentences in an order, `size` a batch; the last batch is filled with rows of weight 0."""
    batches = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        batch = tiny.batch_of([pieces[i] for i in rows], length=length, filler=size - len(rows))
        batch["index"][: len(rows)] = rows
        batches.append(batch)
    return batches


PADDED = batches_of(PIECES, range(13), 5, length=11)


# Models whose marginal is known -----------------------------------------------------------------

POINTS = np.linspace(-1.5, 1.5, 8, dtype=np.float32)
WEIGHT, NOISE = 0.8, 0.6  # x = WEIGHT z + noise of standard deviation NOISE


class LinearGaussian(nn.Module):
    """p(x|z) = N(x; w z, s^2) for the scalar x that the first piece names: a model as text.

    The one piece to predict is OBSERVED with the probability N(x; w z, s^2), which is below 1, and
    [PAD] otherwise. So -log p of it is the negative log-density, and log p(x) = log N(x; 0, w^2 +
    s^2). The posterior given is the true one, moved and widened by `off` and `wider`.
    """

    off: float = 0.0
    wider: float = 1.0
    latent_dim: int = 2  # of which the second dimension does nothing
    pad_id: int = 0
    observed = 1

    def _x(self, ids_BxS):
        return jnp.asarray(POINTS)[ids_BxS[:, 0]]

    def encode(self, ids_BxS, deterministic=True, weight_B=None):
        variance = WEIGHT**2 + NOISE**2
        mu = WEIGHT * self._x(ids_BxS) / variance + self.off
        logvar = jnp.full_like(mu, math.log(self.wider * NOISE**2 / variance))
        return jnp.stack([mu, 0 * mu], axis=1), jnp.stack([logvar, 0 * logvar], axis=1)

    def decode(self, ids_BxS, z_BxZ, deterministic=True):
        standard = (self._x(ids_BxS) - WEIGHT * z_BxZ[:, 0]) / NOISE
        log_p = -0.5 * standard**2 - math.log(NOISE * math.sqrt(2 * math.pi))
        return jnp.stack([jnp.log1p(-jnp.exp(log_p)), log_p], axis=1)[:, None, :]

    def output(self):
        return OutputWeights(jnp.eye(2), jnp.zeros(2))


def linear_gaussian_batch(rows):
    ids = np.ones((rows, 2), np.int32)
    ids[:, 0] = np.arange(rows) % len(POINTS)
    return {"ids": ids, "weight": np.ones(rows, np.float32), "index": np.arange(rows)}


ROWS = 4000


@functools.cache
def estimator_of(model):
    return Estimator(model, tiny.one_device(), seed=0)


def bounds(model, samples):
    """Figures of 4,000 sentences, 500 of each point."""
    batch = linear_gaussian_batch(ROWS)
    return estimator_of(model).run({}, [batch], sentences=ROWS, iw_samples=samples)


def known_log_p():
    marginal = stats.norm(0.0, math.sqrt(WEIGHT**2 + NOISE**2))
    return marginal.logpdf(POINTS[np.arange(ROWS) % len(POINTS)])


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_true_posterior_the_bound_is_log_p_whatever_the_samples(samples):
    found = bounds(LinearGaussian(), samples)
    np.testing.assert_allclose(found.iw_N, known_log_p(), rtol=1e-5, atol=1e-5)


def test_nll_and_kl_of_the_true_posterior_sum_to_minus_log_p_on_average():
    found = bounds(LinearGaussian(), 0)
    behind_N = found.nll_N + found.kl_N + known_log_p()
    assert abs(behind_N.mean()) < 4.5 * behind_N.std() / math.sqrt(ROWS)


def test_with_another_posterior_the_bound_rises_with_the_samples_and_ends_at_log_p():
    other, behind = LinearGaussian(off=0.5, wider=1.8), []
    for samples in (1, 4, 40):
        behind_N = known_log_p() - bounds(other, samples).iw_N
        behind.append((behind_N.mean(), behind_N.std() / math.sqrt(ROWS)))
    for (less, error), (more, other_error) in zip(behind[1:], behind, strict=False):
        assert more - less > 3 * math.hypot(error, other_error)
    last, error = behind[-1]
    assert -4.5 * error < last < 0.02


@pytest.mark.parametrize("wider", [1.8, 1e-16])
def test_one_sample_of_the_bound_is_the_elbo_on_average(wider):
    """So narrow a posterior is lost beside its mean in float32."""
    found = bounds(LinearGaussian(off=0.5, wider=wider), 1)
    difference_N = found.iw_N + found.nll_N + found.kl_N  # of independent draws
    assert abs(difference_N.mean()) < 4.5 * difference_N.std() / math.sqrt(ROWS)


class BinaryToken(LinearGaussian):
    """One piece of two, its logit linear in z: log p(x) is an integral of one dimension."""

    slope: float = 1.7
    bias: float = -0.4

    def encode(self, ids_BxS, deterministic=True, weight_B=None):
        sign = jnp.where(ids_BxS[:, 1] == self.observed, 1.0, -1.0)
        mu = jnp.stack([0.5 * sign, 0.0 * sign], axis=1)
        return mu, jnp.full_like(mu, -0.2)

    def decode(self, ids_BxS, z_BxZ, deterministic=True):
        logit_B = self.slope * z_BxZ[:, 0] + self.bias
        return jnp.stack([0 * logit_B - 1e9, logit_B, 0 * logit_B], axis=1)[:, None, :]

    def output(self):
        return OutputWeights(jnp.eye(3), jnp.zeros(3))


@pytest.mark.parametrize("piece", [1, 2])
def test_the_bound_of_a_binary_piece_ends_at_its_integral(piece):
    model = BinaryToken()
    sign = 1.0 if piece == model.observed else -1.0

    def joint(z):
        return stats.norm.pdf(z) * special.expit(sign * (model.slope * z + model.bias))

    log_p = math.log(integrate.quad(joint, -12, 12, epsabs=1e-12)[0])
    batch = linear_gaussian_batch(ROWS)
    batch["ids"][:, 1] = piece
    bound_N = estimator_of(model).run({}, [batch], sentences=ROWS, iw_samples=50).iw_N
    error = bound_N.std() / math.sqrt(ROWS)
    assert bound_N.mean() == pytest.approx(log_p, abs=4.5 * error + 0.002)


# Estimators over a split ------------------------------------------------------------------------


def test_nll_is_that_of_the_draw_that_is_given_beside_it(variables, estimator):
    found = estimator.run(variables, PADDED, sentences=13)
    ids = tiny.rows_of(PIECES, 11)
    decode = jax.jit(functools.partial(MODEL.apply, method="decode"))
    h_BxTxD = decode(variables, ids, jnp.asarray(found.z_NxZ))
    kernel, bias = MODEL.apply(variables, method="output")
    log_p = np.asarray(jax.nn.log_softmax(h_BxTxD @ kernel.T + bias[None, None]))
    for n, sentence in enumerate(PIECES):
        target = [*sentence, tiny.SEP]
        expected = -log_p[n, range(len(target)), target].sum()
        assert found.nll_N[n] == pytest.approx(expected, rel=1e-5)


def test_kl_and_posterior_are_the_encoders(variables, estimator):
    found = estimator.run(variables, PADDED, sentences=13)
    encode = jax.jit(functools.partial(MODEL.apply, method="encode"))
    mu, logvar = encode(variables, tiny.rows_of(PIECES, 11))
    np.testing.assert_allclose(found.mu_NxZ, mu, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.logvar_NxZ, logvar, rtol=1e-5, atol=1e-6)
    mu, logvar = np.float64(mu), np.float64(logvar)
    kl_N = 0.5 * np.sum(np.exp(logvar) + mu**2 - 1 - logvar, axis=1)
    np.testing.assert_allclose(found.kl_N, kl_N, rtol=1e-5)


def test_the_draws_are_standard_normal_around_the_posterior():
    found = bounds(LinearGaussian(), 0)
    eps = (found.z_NxZ - found.mu_NxZ) / np.exp(0.5 * found.logvar_NxZ)
    assert stats.kstest(eps.ravel(), "norm").pvalue > 1e-4
    assert abs(np.corrcoef(eps.T)[0, 1]) < 4.5 / math.sqrt(ROWS)


def assert_same_estimates(a, b):
    for field in dataclasses.fields(Estimates):
        x, y = getattr(a, field.name), getattr(b, field.name)
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5, err_msg=field.name)


@pytest.mark.slow
def test_batch_size_order_and_length_of_rows_change_no_figure(variables, estimator):
    run = functools.partial(estimator.run, variables, sentences=13, iw_samples=3)
    by_length = sorted(range(13), key=lambda i: -len(PIECES[i]))
    assert_same_estimates(run(batches_of(PIECES, by_length, 4, length=13)), run(PADDED))


def test_every_sentence_has_its_own_figures_and_filler_none(variables, estimator):
    whole = estimator.run(variables, PADDED, sentences=13)
    assert np.all(whole.nll_N > 0) and len(np.unique(whole.nll_N)) == 13
    without_filler = estimator.run(variables, PADDED[:2], sentences=13)
    np.testing.assert_array_equal(without_filler.nll_N[:10], whole.nll_N[:10])
    np.testing.assert_array_equal(without_filler.nll_N[10:], 0.0)


def test_the_same_seed_draws_the_same_and_another_seed_another(variables, estimator):
    first, again = (estimator.run(variables, PADDED, sentences=13) for _ in range(2))
    other = Estimator(MODEL, tiny.one_device(), seed=1).run(variables, PADDED, sentences=13)
    np.testing.assert_array_equal(first.z_NxZ, again.z_NxZ)
    np.testing.assert_array_equal(first.mu_NxZ, other.mu_NxZ)
    assert np.abs(first.z_NxZ - other.z_NxZ).min() > 0


def test_without_samples_there_is_no_bound(variables, estimator):
    assert estimator.run(variables, PADDED, sentences=13).iw_N is None


def test_progress_is_told_after_every_batch(variables, estimator):
    told = []
    estimator.run(
        variables, PADDED, sentences=13, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


# The summary ------------------------------------------------------------------------------------

FACTS = SplitFacts(sentences=2, tokens=10, words=6, truncated=1)


def estimates(**changes):
    mu = np.asarray([[50.0, 0.0], [-50.0, 0.1]])
    figures = {
        "nll_N": np.asarray([12.0, 8.0]),
        "kl_N": np.asarray([3.0, 1.0]),
        "mu_NxZ": mu,
        "logvar_NxZ": np.zeros((2, 2)),
        "z_NxZ": mu,
        "iw_N": np.asarray([-13.0, -8.0]),
    }
    return Estimates(**(figures | changes))


def test_the_summary_of_two_sentences_is_the_one_worked_out_by_hand():
    figures = summary(estimates(), FACTS, iw_samples=7)
    approximately = {
        "nll": 10.0,
        "kl": 2.0,
        "ppl_rec": math.exp(20 / 10),
        "ppl_elbo": math.exp(24 / 10),
        "ppl_iw": math.exp(21 / 10),
        "ppl_rec_word": math.exp(20 / 8),  # six words and two ends
        "ppl_elbo_word": math.exp(24 / 8),
        "ppl_iw_word": math.exp(21 / 8),
        "mi": math.log(2),
        "mi_b32": math.log(2),
        "mi_limit": math.log(2),
    }
    assert {name: figures[name] for name in approximately} == pytest.approx(approximately)
    exactly = {"sentences": 2, "tokens": 10, "words": 6, "truncated": 1, "latent_dim": 2}
    exactly |= {"au": 1, "iw_samples": 7}  # the second unit's mean varies by 0.0025
    assert {name: figures[name] for name in exactly} == exactly
    assert figures.keys() == approximately.keys() | exactly.keys()


def test_without_the_bound_its_perplexities_are_none_and_the_others_stay():
    with_bound = summary(estimates(), FACTS, iw_samples=7)
    without = summary(estimates(iw_N=None), FACTS, iw_samples=0)
    left_out = {"ppl_iw": None, "ppl_iw_word": None, "iw_samples": 0}
    assert without == with_bound | left_out


def test_a_language_model_has_no_latent_figures_and_one_perplexity():
    model = tiny.language_model()
    found = Estimator(model, tiny.one_device(), seed=0).run(
        {"params": tiny.params_of(model)}, PADDED, sentences=13, iw_samples=4
    )
    tokens = sum(map(len, PIECES)) + 13
    figures = summary(found, SplitFacts(13, tokens, tokens, 0), iw_samples=4)
    latent = ("kl", "mi", "mi_b32", "mi_limit", "au", "latent_dim")
    assert [figures[name] for name in latent] == [None] * 6
    assert figures["ppl_rec"] == pytest.approx(math.exp(found.nll_N.sum() / tokens))
    assert figures["ppl_rec"] == figures["ppl_elbo"]
    assert figures["ppl_rec"] == pytest.approx(figures["ppl_iw"], rel=1e-6)


def test_perplexity_too_large_for_a_float_is_infinite():
    assert perplexity(10.0, 5) == pytest.approx(math.exp(2.0))
    assert perplexity(1e6, 1) == math.inf
    assert perplexity(math.inf, 3) == math.inf


@pytest.mark.parametrize(("mi", "noted"), [(7.2, True), (7.0, False), (None, False)])
def test_a_mutual_information_within_half_a_nat_of_its_limit_is_noted(mi, noted):
    found = notes({"mi": mi, "mi_limit": 7.6})
    assert [("mi = 7.20" in note and "7.60" in note) for note in found] == [True] * noted


def test_the_weighted_perplexities_alone_are_printed_with_their_samples():
    assert with_samples("ppl_iw_word", 500) == "ppl_iw_word (K=500)"
    assert with_samples("ppl_elbo", 500) == "ppl_elbo"


# A process of its own: four devices.
@pytest.mark.slow
def test_over_four_devices_every_figure_is_that_of_one():
    tiny.run_on_four_devices("""
import dataclasses, jax, numpy as np
from tests.helpers import tiny
from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.runtime.mesh import data_mesh, put_replicated

model = tiny.vae(layers=1)
pieces = tiny.sentences(9)
batches = [
    tiny.batch_of(pieces[:4], length=11),
    tiny.batch_of(pieces[4:8], length=11, first=4),
    tiny.batch_of(pieces[8:], length=11, first=8, filler=3),
]


def run(devices):
    mesh = data_mesh(jax.devices()[:devices])
    variables = put_replicated({"params": tiny.params_of(model)}, mesh)
    return Estimator(model, mesh, seed=0).run(variables, batches, sentences=9, iw_samples=3)


one, four = (dataclasses.asdict(run(n)) for n in (1, 4))
assert np.all(one["nll_N"] > 0)
for name in one:
    np.testing.assert_allclose(one[name], four[name], rtol=2e-6, atol=2e-6, err_msg=name)
""")
