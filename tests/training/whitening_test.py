"""PCA whitening, against numpy's covariance of the result."""

import numpy as np
import pytest

from vaetx_jax.errors import UserError
from vaetx_jax.training import whitening as whitening_lib
from vaetx_jax.training.whitening import whitening

NOISE = np.random.default_rng(0)
MIX = NOISE.standard_normal((6, 6)) * np.array([5.0, 3.0, 2.0, 1.0, 0.5, 0.1])
FEATURES = (NOISE.standard_normal((500, 6)) @ MIX.T + 7.0).astype(np.float32)


def test_whitened_features_are_uncorrelated_with_variance_one():
    found = whitening(FEATURES, 4)
    z = FEATURES.astype(np.float64) @ found.kernel_ExZ + found.bias_Z
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(4), atol=1e-5)


def test_the_components_are_the_strongest_in_falling_order():
    found = whitening(FEATURES, 3)
    variances = np.sort(np.linalg.eigvalsh(np.cov(FEATURES.astype(np.float64).T, bias=True)))
    np.testing.assert_allclose(found.variance_Z, variances[::-1][:3], rtol=1e-6)


def test_rows_on_disk_a_chunk_at_a_time_give_the_same(monkeypatch, tmp_path):
    whole = whitening(FEATURES, 4)
    np.save(tmp_path / "features.npy", FEATURES)
    monkeypatch.setattr(whitening_lib, "CHUNK", 37)
    chunked = whitening(np.load(tmp_path / "features.npy", mmap_mode="r"), 4)
    np.testing.assert_allclose(chunked.kernel_ExZ, whole.kernel_ExZ, rtol=1e-6, atol=1e-9)


def test_equal_features_have_no_dimension_but_rounding():
    equal = np.tile(np.float32([0.1, 0.3, -0.7]), (40, 1))
    rounded = np.where(NOISE.random(equal.shape) < 0.5, equal, np.nextafter(equal, np.float32(1)))
    with pytest.raises(UserError, match=r"latent_dim = 1: .*whiten finds at most 0 dimensions"):
        whitening(rounded, 1)


def test_more_dimensions_than_there_are_is_refused():
    flat = FEATURES.copy()
    flat[:, 5] = flat[:, 4]
    with pytest.raises(UserError, match=r"latent_dim = 6: .*whiten finds at most 5 dimensions"):
        whitening(flat, 6)
