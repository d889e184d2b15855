"""What a run's own language model knows, kept beside the run."""

import shutil

import numpy as np
import pytest

from vaetx_jax.inference.loading import load
from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.training.language_model import FILE, keep_nll, kept_nll


@pytest.fixture
def copied(trained, tmp_path):
    return load(shutil.copytree(trained, tmp_path / "run"))


def test_what_is_kept_is_the_decoders_nll_at_a_latent_of_zero(copied):
    keep_nll(copied.run, copied.variables)
    run = copied.run
    batches, kept_N = run.eval_batches(run.split("test")), kept_nll(run, "test")
    zeros = np.zeros((40, 4), np.float32)
    estimator = Estimator(run.model, run.mesh, seed=9)
    np.testing.assert_array_equal(kept_N, estimator.nll_at(copied.variables, batches, zeros))
    at_one = estimator.nll_at(copied.variables, batches, zeros + 1.0)
    assert np.abs(kept_N - at_one).max() > 1e-3
    assert kept_nll(run, "valid").shape == (40,)


def test_a_split_that_was_not_kept_and_a_run_that_kept_none_have_none(copied):
    assert kept_nll(copied.run, "test") is None
    keep_nll(copied.run, copied.variables)
    assert kept_nll(copied.run, "train") is None


def test_what_is_of_another_number_of_sentences_is_not_taken(copied):
    np.savez(copied.run.folder / FILE, test=np.zeros(39))
    assert kept_nll(copied.run, "test") is None
