"""A whole run of two phases with a channel: what it saves, resumes and counts as best."""

import shutil

import jax
import numpy as np
import pytest

from tests.helpers.interruption import interrupt_at
from tests.helpers.tiny_run import fit, tiny_config
from vaetx_jax.evaluate import evaluate
from vaetx_jax.inference.loading import load
from vaetx_jax.models import gaussian, text_vae
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.training.language_model import FILE, kept_nll
from vaetx_jax.training.trainer import StoppedError

STEPS, WARM_UP = 12, 6


def recipe(cache):
    """The recipe of a frozen bag, a channel and a language model's start, tiny."""
    config = tiny_config(cache)
    config.model.encoder, config.model.encoder_start = "bag", "lsa"
    config.model.channel_rate, config.model.freeze = 3.0, "encoder"
    config.model.latent_attention, config.model.latent_input = False, True
    config.model.latent_output, config.model.output_start = True, "unigrams"
    config.train.warm_up, config.train.warm_up_share = "language_model", WARM_UP / STEPS
    config.train.warm_up_learning_rate = 2e-3
    config.train.steps, config.train.validate_every, config.objective.annealing = STEPS, 4, "none"
    config.objective.cycles = 1
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    cache, folder = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("whole")
    fit(recipe(cache), folder)
    return cache, folder


def rows(folder, key):
    return {row["step"]: row[key] for row in read_metrics(folder / METRICS) if key in row}


@pytest.mark.slow
def test_the_warm_up_is_trained_without_kl_and_is_not_validated(whole):
    kl = rows(whole[1], "train/kl")
    assert kl[3] == 0 and kl[6] == 0 and kl[9] > 0.5
    assert sorted(rows(whole[1], "valid/nll")) == [8, 12]


def test_the_training_splits_kl_is_the_channels_rate(whole):
    model = load(whole[1], checkpoint="last")
    run, variables = model.run, model.variables
    split, kl = run.split("train"), []
    batches = run.eval_batches(split)
    for i in range(len(batches)):
        mu, logvar = text_vae.encode(run.model, variables, batches[i]["ids"])
        own = np.sum(gaussian.kl_to_prior(mu, logvar), axis=1)
        kl.extend(own[batches[i]["index"] >= 0].tolist())
    assert len(kl) == len(split)
    assert np.mean(kl) == pytest.approx(3.0, rel=1e-4)


def test_a_run_stopped_in_either_phase_goes_on_bit_for_bit(whole, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, {2, 6, 10})
    stops = 0
    while True:
        try:
            fit(recipe(whole[0]), tmp_path)
            break
        except StoppedError:
            stops += 1
    assert stops == 3
    ours, theirs = load(tmp_path, checkpoint="last"), load(whole[1], checkpoint="last")
    jax.tree.map(np.testing.assert_array_equal, ours.variables, theirs.variables)
    np.testing.assert_array_equal(kept_nll(ours.run, "test"), kept_nll(theirs.run, "test"))


def test_the_evaluation_is_against_the_runs_own_language_model(whole, tmp_path):
    copy = shutil.copytree(whole[1], tmp_path / "run")
    found, _ = evaluate(load(copy), "valid")
    own_N = kept_nll(load(copy).run, "valid")
    assert found["gain"] == pytest.approx(own_N.mean() - found["nll"])
    assert found["reference"] == "own language model, at the end of its phase"
    (copy / FILE).write_bytes((copy / FILE).read_bytes()[:100])
    assert evaluate(load(copy), "valid")[0]["gain"] is None
