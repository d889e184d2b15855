"""PCA whitening: features to their strongest principal components, each with variance 1."""

import dataclasses
from typing import Any

import numpy as np

from vaetx_jax.errors import UserError

CHUNK = 4096  # rows in memory at once
LEAST_SHARE = 1e-7  # of the largest variance: below it a component is rounding
ROUNDING = 1e-14  # of the mean square of the features, which are float32: the variance of rounding


@dataclasses.dataclass(frozen=True)
class Whitening:
    """features @ kernel + bias: Z uncorrelated numbers of mean 0 and variance 1.

    Attributes:
      kernel_ExZ, bias_Z: of the linear map.
      variance_Z: of the principal components before they are scaled, falling.
    """

    kernel_ExZ: np.ndarray
    bias_Z: np.ndarray
    variance_Z: np.ndarray


def whitening(features_NxE: Any, dim: int) -> Whitening:
    """The whitening of features by their `dim` strongest principal components.

    The moments are exact sums in float64, a chunk of rows at a time; the rows may be on disk.

    Args:
      features_NxE: an array, or anything with a shape that gives rows.

    Raises:
      UserError: the features have fewer components than that.
    """
    n, width = features_NxE.shape
    mean_E = np.zeros(width)
    for start in range(0, n, CHUNK):
        mean_E += features_NxE[start : start + CHUNK].sum(axis=0, dtype=np.float64) / n
    covariance_ExE = np.zeros((width, width))
    for start in range(0, n, CHUNK):
        centred = features_NxE[start : start + CHUNK].astype(np.float64) - mean_E
        covariance_ExE += centred.T @ centred / n
    variance_E, axes_ExE = np.linalg.eigh(covariance_ExE)
    order = np.argsort(variance_E)[::-1]
    variance_E, axes_ExE = variance_E[order], axes_ExE[:, order]
    square = np.sum(variance_E) + np.sum(np.square(mean_E))
    least = max(LEAST_SHARE * variance_E[0], ROUNDING * square)
    found = int(np.count_nonzero(variance_E > least))
    if dim > found:
        raise UserError(
            f"config.model.latent_dim = {dim}: model.encoder_start=whiten finds at most {found:,} "
            f"dimensions in {n:,} sentences of {width:,} features"
        )
    variance_Z, axes_ExZ = variance_E[:dim], axes_ExE[:, :dim]
    # The largest number of each axis is positive, so that a machine's signs are not another's.
    axes_ExZ = axes_ExZ * np.sign(axes_ExZ[np.abs(axes_ExZ).argmax(axis=0), np.arange(dim)])
    kernel_ExZ = axes_ExZ / np.sqrt(variance_Z)
    return Whitening(kernel_ExZ, -(mean_E @ kernel_ExZ), variance_Z)
