"""Distributions to draw latents from, fitted to the training split's posteriors.

N(0, I) is the prior of training; what the encoder makes of real sentences may lie elsewhere. A
mixture of Gaussians over the aggregated posterior, or one Gaussian for each class of a label, says
where.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference.sentences import encode_split
from vaetx_jax.models.language_model import Variables
from vaetx_jax.run.run import Run
from vaetx_jax.runtime.console import counted
from vaetx_jax.settings import choices

LEAST_ROWS = 2  # of a split or a class, to have a variance


@dataclasses.dataclass(frozen=True)
class LatentPrior:
    """A mixture of K Gaussians over the latent.

    Attributes:
      weight_K: of the components; they sum to 1.
      mean_KxZ: of each.
      factor_KxZxZ: lower-triangular; factor @ factor.T is the covariance.
    """

    weight_K: np.ndarray
    mean_KxZ: np.ndarray
    factor_KxZxZ: np.ndarray

    def draw(self, noise: np.random.Generator, count: int) -> np.ndarray:
        """Latents [count, Z], float32."""
        component_N = noise.choice(len(self.weight_K), size=count, p=self.weight_K)
        eps_NxZ = noise.standard_normal((count, self.mean_KxZ.shape[1]))
        z_NxZ = np.zeros(eps_NxZ.shape, np.float32)
        for component in np.unique(component_N):  # not all at once: that is a matrix for each draw
            rows = np.flatnonzero(component_N == component)
            moved_MxZ = eps_NxZ[rows] @ self.factor_KxZxZ[component].T
            z_NxZ[rows] = self.mean_KxZ[component][None] + moved_MxZ
        return z_NxZ

    def log_density(self, z_NxZ: np.ndarray) -> np.ndarray:
        """The log-density of latents, [N] nats."""
        terms = []
        for weight, mean_Z, factor_ZxZ in zip(
            self.weight_K, self.mean_KxZ, self.factor_KxZxZ, strict=True
        ):
            white_NxZ = np.linalg.solve(factor_ZxZ, (z_NxZ - mean_Z).T).T
            volume = np.log(np.diag(factor_ZxZ)).sum() - np.log(np.maximum(weight, 1e-300))
            terms.append(_log_normal(white_NxZ) - volume)
        return np.asarray(np.logaddexp.reduce(terms, axis=0))


def fit_mixture(
    mean_NxZ: np.ndarray, std_NxZ: np.ndarray, *, components: int, seed: int
) -> LatentPrior:
    """A Gaussian mixture over the aggregated posterior, fitted by EM to one draw of each sentence.

    Raises:
      UserError: there is a single sentence.
      ConfigError: there are fewer sentences than components.
    """
    from sklearn.mixture import GaussianMixture  # here, because it is slow to import

    if len(mean_NxZ) < LEAST_ROWS:
        raise UserError(f"a prior is fitted to at least {LEAST_ROWS} training sentences")
    if not 1 <= components <= len(mean_NxZ):
        raise ConfigError(
            f"components = {components}: must be at least 1 and at most the {len(mean_NxZ):,} "
            "training sentences"
        )
    noise = np.random.default_rng(seed)
    z_NxZ = mean_NxZ + std_NxZ * noise.standard_normal(mean_NxZ.shape)
    mixture = GaussianMixture(components, reg_covar=1e-4, random_state=seed).fit(z_NxZ)
    factors_KxZxZ = np.linalg.cholesky(mixture.covariances_)
    weight_K = mixture.weights_ / mixture.weights_.sum()
    return LatentPrior(weight_K, mixture.means_, factors_KxZxZ)


def fit_class(mean_NxZ: np.ndarray, std_NxZ: np.ndarray) -> LatentPrior:
    """The Gaussian with the mean and the covariance of a class's posteriors."""
    # In float64: of few rows the covariance is nearly singular, and rounded it is none.
    mean_NxZ, std_NxZ = (np.asarray(x, np.float64) for x in (mean_NxZ, std_NxZ))
    centre_Z = mean_NxZ.mean(axis=0)
    centred_NxZ = mean_NxZ - centre_Z[None]
    covariance_ZxZ = centred_NxZ.T @ centred_NxZ / len(mean_NxZ)
    covariance_ZxZ += np.diag(np.square(std_NxZ).mean(axis=0) + 1e-6)
    return LatentPrior(np.ones(1), centre_Z[None], np.linalg.cholesky(covariance_ZxZ)[None])


def mixture_prior(run: Run, variables: Variables, components: int, *, seed: int) -> LatentPrior:
    """A Gaussian mixture over the aggregated posterior of a run's training split.

    Raises:
      UserError: the corpus is not here, or has a single training sentence.
      ConfigError: there are fewer sentences than components.
    """
    mean_NxZ, std_NxZ = encode_split(run, variables, "train")
    return fit_mixture(mean_NxZ, std_NxZ, components=components, seed=seed)


def describe_prior(prior: LatentPrior, run: Run, variables: Variables, *, seed: int) -> str:
    """How well a prior fits held-out latents compared with N(0, I), in words.

    The gain is by how much it lowers the KL of the aggregated posterior to the prior
    (`marginal_kl`), in nats per sentence of the validation split.
    """
    mean_NxZ, std_NxZ = encode_split(run, variables, "valid")
    z_NxZ = mean_NxZ + std_NxZ * np.random.default_rng(seed).standard_normal(mean_NxZ.shape)
    fitted, plain = prior.log_density(z_NxZ).mean(), _log_normal(z_NxZ).mean()
    count = len(prior.weight_K)
    return (
        f"prior: {counted(count, 'Gaussian')} fitted to the training sentences; "
        f"log-density of the validation sentences' latents {fitted:.2f} nats, {plain:.2f} under "
        f"N(0, I): {'better' if fitted > plain else 'worse'} by {abs(fitted - plain):.2f}"
    )


def _log_normal(z_NxZ: np.ndarray) -> np.ndarray:
    """The log-density of N(0, I), [N]."""
    return np.asarray(-0.5 * (np.square(z_NxZ).sum(axis=1) + z_NxZ.shape[1] * np.log(2 * np.pi)))


def class_prior(run: Run, variables: Variables, label: str) -> LatentPrior:
    """The Gaussian of the training sentences that have a label.

    Args:
      label: a class of the corpus's first label field that has it.

    Raises:
      UserError: the corpus is not here, or has no such label, or hardly a sentence has it.
    """
    split = run.split("train")
    names = {name for classes in split.label_fields.values() for name in classes}
    if not names:
        raise UserError(f"label = {label!r}: the corpus {run.config.data.corpus} has no labels")
    for field, classes in split.label_fields.items():
        if label in classes:
            rows = np.flatnonzero(np.asarray(split.labels[field]) == classes.index(label))
            break
    else:
        raise ConfigError(f"label = {label!r}: {choices(label, sorted(names))}")
    if len(rows) < LEAST_ROWS:
        raise UserError(f"label = {label!r}: too few training sentences have it ({len(rows)})")
    mean_NxZ, std_NxZ = encode_split(run, variables, "train")
    return fit_class(mean_NxZ[rows], std_NxZ[rows])
