"""Whether the decoder uses z: against brute force, and against figures worked out by hand."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from tests.metrics.estimator_test import batches_of
from vaetx_jax.metrics import usage
from vaetx_jax.metrics.estimator import Estimates, Estimator

MODEL = tiny.vae(layers=1)
SENTENCES = tiny.sentences(13)  # of 1 to 9 tokens
PADDED = batches_of(SENTENCES, range(13), 5, length=11)


@pytest.fixture(scope="module")
def variables():
    return {"params": tiny.params_of(MODEL)}


@pytest.fixture(scope="module")
def estimator():
    return Estimator(MODEL, tiny.one_device(), seed=0)


@pytest.fixture(scope="module")
def found(variables, estimator):
    return estimator.run(variables, PADDED, sentences=13)


# The other sentence -----------------------------------------------------------------------------


@pytest.mark.parametrize("sentences", [2, 3, 50])
def test_no_sentence_has_its_own_latent_and_every_latent_is_used_once(sentences):
    others_N = usage.other_rows(sentences, seed=0)
    assert not np.any(others_N == np.arange(sentences))
    assert sorted(others_N) == list(range(sentences))


def test_the_other_sentences_are_a_matter_of_the_seed():
    np.testing.assert_array_equal(usage.other_rows(50, seed=1), usage.other_rows(50, seed=1))
    assert np.any(usage.other_rows(50, seed=1) != usage.other_rows(50, seed=2))


# nll at another latent --------------------------------------------------------------------------


def test_nll_at_the_own_draws_is_the_reported_one(variables, estimator, found):
    nll_N = estimator.nll_at(variables, PADDED, found.z_NxZ)
    np.testing.assert_allclose(nll_N, found.nll_N, rtol=1e-6)


def test_use_is_that_of_decoding_each_sentence_alone_from_both_latents(variables, estimator, found):
    others_N = usage.other_rows(13, seed=3)
    nll_other_N = estimator.nll_at(variables, PADDED, found.z_NxZ[others_N])
    decode = jax.jit(functools.partial(MODEL.apply, method="decode"))
    kernel, bias = (np.float64(x) for x in MODEL.apply(variables, method="output"))

    def alone(n, z_Z):  # in rows of one length, so that it is compiled once
        h_1xTxD = decode(variables, tiny.rows_of([SENTENCES[n]], 13), jnp.asarray(z_Z)[None])
        logits_TxV = np.float64(h_1xTxD[0]) @ kernel.T + bias
        log_p_TxV = logits_TxV - np.log(np.exp(logits_TxV).sum(axis=1, keepdims=True))
        target = [*SENTENCES[n], tiny.SEP]
        return -log_p_TxV[range(len(target)), target].sum()

    each_N = [alone(n, found.z_NxZ[others_N[n]]) - alone(n, found.z_NxZ[n]) for n in range(13)]
    figures = usage.latent_use(found, nll_other_N, mi=1.0)
    assert figures["use"] == pytest.approx(np.mean(each_N), rel=1e-4, abs=1e-4)
    assert figures["use_se"] == pytest.approx(np.std(each_N, ddof=1) / math.sqrt(13), rel=1e-4)
    assert np.std(each_N) > 0.1  # this decoder does use z


def test_batch_size_order_and_length_of_rows_change_no_nll(variables, estimator, found):
    z_NxZ = found.z_NxZ[usage.other_rows(13, seed=0)]
    by_length = sorted(range(13), key=lambda i: -len(SENTENCES[i]))
    other = batches_of(SENTENCES, by_length, 4, length=13)
    np.testing.assert_allclose(
        estimator.nll_at(variables, other, z_NxZ),
        estimator.nll_at(variables, PADDED, z_NxZ),
        rtol=1e-5,
    )


# A process of its own: four devices.
@pytest.mark.slow
def test_over_four_devices_the_nll_is_that_of_one():
    tiny.run_on_four_devices("""
import jax, numpy as np
from tests.helpers import tiny
from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.runtime.mesh import data_mesh, put_replicated

model, pieces = tiny.vae(layers=1), tiny.sentences(9)
z_NxZ = np.random.default_rng(0).standard_normal((9, tiny.LATENT)).astype(np.float32)
batches = [
    tiny.batch_of(pieces[:4], length=11),
    tiny.batch_of(pieces[4:8], length=11, first=4),
    tiny.batch_of(pieces[8:], length=11, first=8, filler=3),
]


def run(devices):
    mesh = data_mesh(jax.devices()[:devices])
    variables = put_replicated({"params": tiny.params_of(model)}, mesh)
    return Estimator(model, mesh, seed=0).nll_at(variables, batches, z_NxZ)


one, four = run(1), run(4)
assert np.all(one > 0)
np.testing.assert_allclose(one, four, rtol=2e-6)
""")


# The figures ------------------------------------------------------------------------------------

TWO = Estimates(
    nll_N=np.asarray([12.0, 8.0]),
    kl_N=np.asarray([3.0, 1.0]),
    mu_NxZ=np.zeros((2, 2)),
    logvar_NxZ=np.zeros((2, 2)),
    z_NxZ=np.zeros((2, 2)),
    iw_N=np.asarray([-13.0, -8.0]),
)


def test_use_and_marginal_kl_of_two_sentences_are_those_worked_out_by_hand():
    figures = usage.latent_use(TWO, np.asarray([15.0, 9.0]), mi=0.5)
    assert figures == pytest.approx({"use": 2.0, "use_se": 1.0, "marginal_kl": 1.5})


def test_gain_and_behind_lm_of_two_sentences_are_those_worked_out_by_hand():
    figures = usage.against_reference(TWO, np.asarray([12.5, 9.5]))
    # 0.5 and 1.5 before the price of z; 0.5 and -1.5 behind after it
    expected = {"gain": 1.0, "gain_se": 0.5, "behind_lm": -0.5, "behind_lm_se": 1.0}
    assert figures == pytest.approx(expected)


def test_without_the_weighted_bound_the_elbo_is_compared_with_the_language_model():
    by_elbo = dataclasses.replace(TWO, iw_N=None)
    assert usage.against_reference(by_elbo, np.asarray([12.5, 9.5]))["behind_lm"] == 1.0


def test_a_lone_sentence_has_no_other_and_no_error():
    lone = Estimates(*(x[:1] for x in dataclasses.astuple(TWO)))
    figures = usage.latent_use(lone, None, mi=0.0)
    assert figures == {"use": None, "use_se": None, "marginal_kl": 3.0}
    assert usage.against_reference(lone, np.asarray([12.0]))["gain_se"] is None


def test_what_a_language_model_lacks_are_the_names_that_a_vae_has():
    vae = usage.latent_use(TWO, None, mi=0.0)
    assert usage.NO_USAGE.keys() == vae.keys()
    named = usage.against_reference(TWO, TWO.nll_N).keys() | {"reference"}
    assert usage.NO_REFERENCE.keys() == named
