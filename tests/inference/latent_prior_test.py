"""Priors fitted to the training split: a mixture, and a Gaussian of each class."""

import shutil
import tracemalloc

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from vaetx_jax.errors import ConfigError, DamagedError, UserError
from vaetx_jax.export import export
from vaetx_jax.inference.latent_prior import LatentPrior, fit_class, fit_mixture
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.prior_file import PRIOR, save_prior
from vaetx_jax.inference.sentences import encode_split

NOISE = np.random.default_rng(0)
CLOUDS = np.concatenate(
    [NOISE.standard_normal((300, 2)) * [1.0, 0.3] + 4, NOISE.standard_normal((100, 2)) - 4]
)
NONE = np.zeros_like(CLOUDS)


def test_draws_have_the_means_and_covariances_of_their_components():
    factor = np.array([[[2.0, 0.0], [1.0, 0.5]]])
    prior = LatentPrior(np.ones(1), np.array([[3.0, -1.0]]), factor)
    z = prior.draw(np.random.default_rng(1), 20_000)
    np.testing.assert_allclose(z.mean(axis=0), [3.0, -1.0], atol=0.05)
    np.testing.assert_allclose(np.cov(z.T), factor[0] @ factor[0].T, atol=0.12)
    assert z.dtype == np.float32


def test_a_draw_takes_its_component_and_no_matrix_for_each_latent():
    width = 128
    mean = np.stack([np.full(width, -5.0), np.full(width, 7.0)])
    prior = LatentPrior(np.array([0.25, 0.75]), mean, np.zeros((2, width, width)))
    tracemalloc.start()
    z = prior.draw(np.random.default_rng(1), 500)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * z.nbytes
    values, counts = np.unique(z[:, 0], return_counts=True)
    assert values.tolist() == [-5.0, 7.0] and np.all(z == z[:, :1])
    assert counts[0] / 500 == pytest.approx(0.25, abs=0.08)


def test_a_mixture_finds_the_clouds_and_their_shares():
    prior = fit_mixture(CLOUDS, NONE, components=2, seed=0)
    order = np.argsort(prior.weight_K)
    np.testing.assert_allclose(prior.weight_K[order], [0.25, 0.75], atol=0.01)
    np.testing.assert_allclose(prior.mean_KxZ[order], [[-4, -4], [4, 4]], atol=0.3)


def test_a_mixture_is_of_the_posteriors_and_not_of_their_means_alone():
    narrow = fit_mixture(CLOUDS, NONE, components=1, seed=0)
    wide = fit_mixture(CLOUDS, NONE + 3.0, components=1, seed=0)
    assert np.all(np.diag(wide.factor_KxZxZ[0]) > np.diag(narrow.factor_KxZxZ[0]) + 0.3)


def test_a_class_has_its_mean_and_the_variance_of_means_and_posteriors():
    prior = fit_class(CLOUDS, NONE + 0.5)
    covariance = np.cov(CLOUDS.T, bias=True) + 0.25 * np.eye(2)
    np.testing.assert_allclose(prior.mean_KxZ[0], CLOUDS.mean(axis=0))
    np.testing.assert_allclose(
        prior.factor_KxZxZ[0] @ prior.factor_KxZxZ[0].T, covariance, rtol=1e-4
    )


def test_a_class_of_few_rows_far_from_the_middle_has_its_covariance():
    """Fewer rows than dimensions: in float32 the covariance was not positive definite."""
    noise = np.random.default_rng(3)
    mean = (30 * noise.standard_normal((5, 64))).astype(np.float32)
    prior = fit_class(mean, np.full((5, 64), 1e-3, np.float32))
    covariance = np.cov(mean.astype(np.float64).T, bias=True) + 2e-6 * np.eye(64)
    factor = prior.factor_KxZxZ[0]
    np.testing.assert_allclose(factor @ factor.T, covariance, atol=1e-9)


def test_a_single_sentence_has_no_prior():
    with pytest.raises(UserError, match="fitted to at least 2 training sentences"):
        fit_mixture(CLOUDS[:1], NONE[:1], components=1, seed=0)


@pytest.mark.parametrize("components", [0, 401])
def test_more_components_than_sentences_are_refused(components):
    with pytest.raises(ConfigError, match=f"components = {components}: must be at least 1"):
        fit_mixture(CLOUDS, NONE, components=components, seed=0)


# With a model ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


def test_a_split_is_encoded_in_the_order_of_the_corpus(model):
    rows = model.run.corpus.split("valid")
    texts = [rows[i].text for i in range(3)]
    mean, std = encode_split(model.run, model.variables, "valid")
    ours = model.encode(texts)
    np.testing.assert_allclose(mean[:3], ours[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(std[:3], ours[1], rtol=1e-4, atol=1e-5)


def test_samples_of_a_label_come_from_its_own_latents(model, monkeypatch):
    """A class whose Gaussian is moved far away has other sentences; no label leaves them."""
    classes, *_ = model.run.split("train").label_fields.values()
    plain = model.sample(3)
    of_class = model.sample(3, label=classes[0])
    assert len(of_class) == 3 and model.sample(3) == plain
    far = LatentPrior(np.ones(1), np.full((1, 4), 50.0), np.zeros((1, 4, 4)))
    monkeypatch.setattr("vaetx_jax.inference.text_model.class_prior", lambda *_: far)
    z = np.full((3, 4), 50.0, np.float32)
    assert model.sample(3, label="any") == model.decode(z, temperature=1.0)


def test_an_unknown_label_is_told_with_those_there_are(model):
    classes, *_ = model.run.split("train").label_fields.values()
    with pytest.raises(ConfigError, match=f"label = '{classes[0]}x': must be one of"):
        model.sample(1, label=f"{classes[0]}x")


def test_the_density_of_a_prior_is_that_of_its_gaussians():
    prior = fit_mixture(CLOUDS, NONE, components=2, seed=0)
    z = CLOUDS[::40] + 0.3
    per_component = [
        np.log(weight) + multivariate_normal(mean, factor @ factor.T).logpdf(z)
        for weight, mean, factor in zip(
            prior.weight_K, prior.mean_KxZ, prior.factor_KxZxZ, strict=True
        )
    ]
    np.testing.assert_allclose(prior.log_density(z), np.logaddexp(*per_component), rtol=1e-9)


def test_a_fitted_prior_says_how_it_fits_held_out_latents(model, capsys):
    model.fit_prior(1)
    said = capsys.readouterr().out
    assert said.startswith("prior: 1 Gaussian fitted to the training sentences; log-density of")
    assert "better by" in said or "worse by" in said


def test_a_kept_prior_comes_with_the_model_of_its_checkpoint_and_with_its_export(
    trained, tmp_path, capsys
):
    copy = shutil.copytree(trained, tmp_path / "run")
    fitted = load(copy).fit_prior(2, save=True, verbose=False)
    for folder in (copy, export(load(copy), tmp_path / "shared")):
        again = load(folder)
        np.testing.assert_array_equal(again.prior.factor_KxZxZ, fitted.prior.factor_KxZxZ)
        assert again.sample(3, seed=5) == fitted.sample(3, seed=5)
    save_prior(fitted.prior, copy, step=fitted.step + 1)
    assert load(copy).prior is None
    assert f"was fitted to step {fitted.step + 1} and is left out" in capsys.readouterr().err
    (copy / PRIOR).write_bytes(b"nothing")
    with pytest.raises(DamagedError, match=r"prior.safetensors: not a prior .*; fit it again"):
        load(copy)


def test_a_fitted_prior_is_what_samples_are_drawn_from(model):
    fitted = model.fit_prior(2)
    assert fitted.prior.weight_K.shape == (2,) and model.prior is None
    z = fitted.prior.draw(np.random.default_rng(5), 3)
    assert fitted.sample(3, seed=5) == model.decode(z, seed=5, temperature=1.0)
