"""The channel's closed forms, and the latent that it and batch norm on mu make in a model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings, validate
from vaetx_jax.errors import ConfigError
from vaetx_jax.models import gaussian, text_vae
from vaetx_jax.models.build import build_model
from vaetx_jax.models.channel import Channel
from vaetx_jax.models.standardise import batch_moments, standardise

Z, RATE = 4, 3.0
NOISE = np.random.default_rng(0)
ALLOCATION_Z = NOISE.standard_normal(Z).astype(np.float32) / 3
U_NxZ = NOISE.standard_normal((64, Z))
U_NxZ = ((U_NxZ - U_NxZ.mean(axis=0)) / U_NxZ.std(axis=0)).astype(np.float32)
IDS_BxS = tiny.on_device(tiny.batch_of(tiny.sentences(4, longest=4), filler=1))["ids"]
WEIGHT_B = jnp.asarray([1.0, 1.0, 1.0, 1.0, 0.0])
RNGS = {"dropout": jax.random.key(1), "latent": jax.random.key(2)}


def posterior(norm):
    channel = Channel(Z, RATE, norm)
    return channel.apply({"params": {"allocation": ALLOCATION_Z}}, U_NxZ)


def rates():
    shares = np.exp(3 * ALLOCATION_Z) / np.exp(3 * ALLOCATION_Z).sum()
    return RATE * (0.25 / Z + 0.75 * shares)


def built(**changes):
    config = default_config()
    config.model.update({"dim": tiny.DIM, "latent_dim": Z, "layers": 1, "dropout": 0.0} | changes)
    validate(config)
    return build_model(model_settings(config), vocab_size=tiny.VOCABULARY, pad_id=tiny.PAD)


# The channel -----------------------------------------------------------------------------------


def test_a_channels_mean_and_variance_are_those_of_its_rates():
    mu, logvar = posterior("split")
    np.testing.assert_allclose(mu, np.sqrt(1 - np.exp(-2 * rates())) * U_NxZ, rtol=1e-5)
    np.testing.assert_allclose(logvar[0], -2 * rates(), rtol=1e-5)


def test_the_mean_kl_of_a_standardised_split_is_the_rate():
    kl_NxZ = gaussian.kl_to_prior(*posterior("split"))
    np.testing.assert_allclose(np.mean(kl_NxZ, axis=0), rates(), rtol=1e-4)
    assert float(np.mean(np.sum(kl_NxZ, axis=1))) == pytest.approx(RATE, rel=1e-5)


def test_by_sentence_every_kl_is_the_rate():
    kl_N = np.sum(gaussian.kl_to_prior(*posterior("sentence")), axis=1)
    np.testing.assert_allclose(kl_N, np.full(len(U_NxZ), RATE), rtol=1e-5)


def test_two_scales_of_the_mean_are_refused():
    with pytest.raises(ConfigError, match=r"mu_norm.*must be 0 where model.channel_rate is set"):
        built(channel_rate=2.0, mu_norm=0.5)


@pytest.mark.slow
def test_a_model_with_a_channel_is_standardised_by_its_statistics():
    model = built(channel_rate=RATE)
    variables = tiny.variables_of(model)
    summary = text_vae.summary(model, variables, IDS_BxS)
    variables["statistics"] = {"mean": summary.mean(axis=0), "variance": summary.var(axis=0)}
    kl_BxZ = gaussian.kl_to_prior(*text_vae.encode(model, variables, IDS_BxS))
    assert float(jnp.sum(jnp.mean(kl_BxZ, axis=0))) == pytest.approx(RATE, rel=1e-3)


@pytest.mark.slow
def test_the_decoder_gets_z_scaled_by_the_gains():
    model, plain = built(channel_rate=RATE), built()
    variables = tiny.variables_of(model)
    allocation = np.asarray(variables["params"]["channel"]["allocation"])
    shares = np.exp(3 * allocation) / np.exp(3 * allocation).sum()
    gains = np.sqrt(1 - np.exp(-2 * RATE * (0.25 / Z + 0.75 * shares))).astype(np.float32)
    z_BxZ = jax.random.normal(jax.random.key(0), (5, Z))
    decoder = {name: variables["params"][name] for name in ("decoder", "output_layer")}
    expected = text_vae.decode(plain, {"params": decoder}, IDS_BxS, z_BxZ * gains[None])
    got = text_vae.decode(model, variables, IDS_BxS, z_BxZ)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


# Batch norm on mu ------------------------------------------------------------------------------


def test_training_standardises_mu_by_the_batchs_sentences_without_filler():
    model = built(mu_norm=0.5)
    variables = tiny.variables_of(model)
    summary = np.asarray(text_vae.summary(model, variables, IDS_BxS))
    real = summary[:4]
    expected = 0.5 * (summary - real.mean(axis=0)) / real.std(axis=0)
    expected += np.asarray(variables["params"]["mu_shift"])
    result, _ = text_vae.forward(model, variables, IDS_BxS, WEIGHT_B, RNGS)
    np.testing.assert_allclose(result.mu_BxZ, expected, rtol=1e-3, atol=1e-4)


def test_evaluation_standardises_mu_by_the_statistics():
    model = built(mu_norm=0.5)
    variables = tiny.variables_of(model)
    mean, variance = jnp.full(Z, 0.3), jnp.full(Z, 4.0)
    variables["statistics"] = {"mean": mean, "variance": variance}
    summary = text_vae.summary(model, variables, IDS_BxS)
    expected = 0.5 * (summary - 0.3) / 2 + variables["params"]["mu_shift"][None]
    np.testing.assert_allclose(
        text_vae.encode(model, variables, IDS_BxS)[0], expected, rtol=1e-4, atol=1e-5
    )


def test_no_gradient_of_the_mean_along_its_own_direction_leaves_batch_norm():
    """Scaling the summary changes nothing, so its gradient is orthogonal to it."""
    x_BxZ = jax.random.normal(jax.random.key(0), (5, Z))
    pull = jax.random.normal(jax.random.key(1), (5, Z))

    def loss(x):
        return jnp.sum(pull * standardise(x, batch_moments(x, WEIGHT_B)))

    centred = (x_BxZ - jnp.mean(x_BxZ[:4], axis=0)[None])[:4]
    gradient = jax.grad(
        lambda x: loss(x) - jnp.sum(pull[4] * standardise(x, batch_moments(x, WEIGHT_B))[4])
    )(x_BxZ)[:4]
    np.testing.assert_allclose(jnp.sum(gradient * centred, axis=0), np.zeros(Z), atol=1e-4)


# A language model's pass -----------------------------------------------------------------------


def test_without_the_latent_z_and_kl_are_zero():
    model = built(channel_rate=RATE)
    variables = tiny.variables_of(model)
    result, updated = text_vae.forward(model, variables, IDS_BxS, WEIGHT_B, RNGS, latent=False)
    zeros = jnp.zeros((5, Z))
    np.testing.assert_array_equal(gaussian.kl_to_prior(result.mu_BxZ, result.logvar_BxZ), zeros)
    expected = text_vae.decode(model, variables, IDS_BxS, zeros)
    np.testing.assert_allclose(result.h_BxTxD, expected, rtol=1e-5, atol=1e-6)
    assert set(updated["statistics"]) == {"mean", "variance"}
