"""Mutual information and active units of a set of posteriors."""

import math

import numpy as np

from vaetx_jax.models.gaussian import LOG_2PI

ACTIVE_VARIANCE = (
    0.01  # Burda et al., 2016: a unit is active if the variance of its mean exceeds this
)


def mutual_information(
    z_NxZ: np.ndarray, mu_NxZ: np.ndarray, logvar_NxZ: np.ndarray, *, block: int = 1024
) -> float:
    """I(x; z) under q, nats: mean of log q(z_n|x_n) - log (1/N) sum_m q(z_n|x_m).

    The aggregated posterior is the mixture of the N posteriors given, each point's own among them,
    and one z per sentence serves in both densities (He et al., 2019), so the estimate cannot exceed
    ln N. Memory is block * N.
    """
    from scipy.special import logsumexp

    n, latent_dim = np.shape(mu_NxZ)
    if n == 0 or latent_dim == 0:
        return 0.0
    z, mu, logvar = (np.asarray(a, np.float64) for a in (z_NxZ, mu_NxZ, logvar_NxZ))
    precision = np.exp(-logvar)
    # log q(z|x_m) as matrix products: -1/2 (z^2 . p - 2 z . mu p + mu^2 . p + logvar + ln 2 pi)
    constant_N = np.sum(mu**2 * precision + logvar + LOG_2PI, axis=1)
    total = 0.0
    for start in range(0, n, block):
        part = slice(start, start + block)
        square_BxN = (z[part] ** 2) @ precision.T - 2.0 * z[part] @ (mu * precision).T
        log_q_BxN = -0.5 * (square_BxN + constant_N[None, :])
        own_B = -0.5 * np.sum(
            (z[part] - mu[part]) ** 2 * precision[part] + logvar[part] + LOG_2PI, axis=1
        )
        rows = np.arange(len(own_B))
        log_q_BxN[rows, start + rows] = own_B  # the same number in both densities
        total += float(np.sum(own_B - (logsumexp(log_q_BxN, axis=1) - math.log(n))))
    return total / n


def mutual_information_in_batches(
    z_NxZ: np.ndarray, mu_NxZ: np.ndarray, logvar_NxZ: np.ndarray, *, batch_size: int = 32
) -> float:
    """The paper's estimator: `mutual_information` of each full batch in corpus order, averaged.

    It cannot exceed ln batch_size. A rest shorter than a batch is left out; a split shorter than a
    batch is one batch.
    """
    n = len(mu_NxZ)
    size = min(batch_size, n)
    if size == 0:
        return 0.0
    parts = [slice(start, start + size) for start in range(0, n - size + 1, size)]
    return float(np.mean([mutual_information(z_NxZ[p], mu_NxZ[p], logvar_NxZ[p]) for p in parts]))


def active_units(mu_NxZ: np.ndarray) -> int:
    """How many latent dimensions have a posterior mean whose variance over x exceeds 0.01."""
    if len(mu_NxZ) == 0:
        return 0
    return int(np.sum(np.var(np.asarray(mu_NxZ, np.float64), axis=0) > ACTIVE_VARIANCE))
