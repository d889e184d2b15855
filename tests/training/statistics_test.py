"""When the statistics of a standardised latent are updated, and that they are exact."""

import numpy as np
import pytest

from tests.helpers.tiny_run import fit, tiny_config
from vaetx_jax.inference.loading import load
from vaetx_jax.models import gaussian, text_vae
from vaetx_jax.training import statistics
from vaetx_jax.training.statistics import SplitStatistics, updates_between


def test_updates_are_dense_at_first_and_then_regular():
    assert [done for done in range(1, 31) if updates_between(done, 10)] == [1, 2, 4, 8, 10, 20, 30]


def test_without_an_interval_there_are_no_updates_in_between():
    assert not any(updates_between(done, 0) for done in range(1, 20))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run with a trained Transformer encoder before a channel."""
    config = tiny_config(tmp_path_factory.mktemp("cache"))
    config.model.channel_rate = 3.0
    config.train.steps, config.train.validate_every = 6, 6
    config.train.learning_rate = 1e-2
    folder = tmp_path_factory.mktemp("run")
    fit(config, folder)
    return load(folder, checkpoint="last")


@pytest.mark.slow
def test_saved_statistics_are_those_of_the_saved_encoder(model):
    expected = SplitStatistics.of(model.run).updated(model.variables)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(
            model.variables[text_vae.STATISTICS][name],
            expected[text_vae.STATISTICS][name],
            rtol=1e-5,
        )


def test_statistics_are_the_moments_of_the_summaries_in_float64(model):
    found = SplitStatistics.of(model.run)
    summary = found.summaries(model.variables).astype(np.float64)
    updated = found.updated(model.variables)[text_vae.STATISTICS]
    np.testing.assert_allclose(updated["mean"], summary.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(updated["variance"], summary.var(axis=0), rtol=1e-6)


def test_every_sentences_kl_is_the_rate_where_each_is_scaled(model):
    ids = model.run.eval_batches(model.run.split("valid"))[0]["ids"]
    mu, logvar = text_vae.encode(model.run.model, model.variables, ids)
    kl_B = np.sum(gaussian.kl_to_prior(mu, logvar), axis=1)
    np.testing.assert_allclose(kl_B, 3.0, rtol=1e-4)


def test_a_frozen_summary_is_never_updated_in_between(model):
    run = model.run
    assert statistics.update_every(run) > 0
    frozen = run.model.clone(freeze="encoder", mean_layer=False)
    assert not statistics._trains_summary(frozen)
