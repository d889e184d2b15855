"""Disentanglement of a latent with respect to known causes (factors): MIG and DCI."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 20  # of a latent's values, as Locatello et al. (2019) have them
_TREES = 50

Ints = npt.NDArray[np.int64]


class Dci(NamedTuple):
    """Eastwood and Williams's three scores (2018), from 0 to 1.

    Attributes:
      disentanglement: whether each dimension encodes a single cause, weighted by its importance.
      completeness: whether each cause is encoded by a single dimension.
      informativeness: the accuracy with which the causes are predicted on the other half of the
        sentences, the mean over causes.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def mig(mu_NxZ: np.ndarray, causes_NxK: Ints) -> float:
    """The mutual information gap of Chen et al. (2018), from 0 to 1.

    For each cause the mutual information with the dimension that tells most of it, minus that with
    the second, in shares of the cause's entropy; the mean over causes. A dimension's values are
    counted in 20 bins of equal width. A cause that has one value only says nothing and is left out.

    Args:
      mu_NxZ: posterior means.
      causes_NxK: each sentence's value of each cause, from 0 on.
    """
    bins_NxZ = np.stack([_binned(mu_N) for mu_N in mu_NxZ.T], axis=1)
    gaps = []
    for cause_N in causes_NxK.T:
        entropy = _entropy(np.bincount(cause_N))
        if entropy > 0:
            nats = sorted(_information(bins_N, cause_N) for bins_N in bins_NxZ.T)
            gaps.append((nats[-1] - (nats[-2] if len(nats) > 1 else 0.0)) / entropy)
    return float(np.mean(gaps)) if gaps else 0.0


def dci(mu_NxZ: np.ndarray, causes_NxK: Ints, *, seed: int = 0) -> Dci:
    """Disentanglement, completeness and informativeness of a latent.

    The importance of a dimension for a cause is that of a random forest, fitted to one half of the
    sentences, drawn by the seed; so it is one of the classifiers of the paper.

    Args:
      mu_NxZ: posterior means.
      causes_NxK: each sentence's value of each cause.
    """
    from sklearn.ensemble import RandomForestClassifier  # here, because it is slow to import

    order_N = np.random.default_rng(seed).permutation(len(mu_NxZ))
    fitted, held_out = np.array_split(order_N, 2)
    importance_ZxK, accuracies = np.zeros((mu_NxZ.shape[1], causes_NxK.shape[1])), []
    for number, cause_N in enumerate(causes_NxK.T):
        forest = RandomForestClassifier(_TREES, min_samples_leaf=5, random_state=seed)
        forest.fit(mu_NxZ[fitted], cause_N[fitted])
        importance_ZxK[:, number] = forest.feature_importances_
        accuracies.append(np.mean(forest.predict(mu_NxZ[held_out]) == cause_N[held_out]))
    return Dci(*scores_of(importance_ZxK), float(np.mean(accuracies)))


def scores_of(importance_ZxK: np.ndarray) -> tuple[float, float]:
    """(disentanglement, completeness) of a table of importances, none below 0."""
    return _concentration(importance_ZxK), _concentration(importance_ZxK.T)


def _concentration(importance_RxC: np.ndarray) -> float:
    """1 - the entropy of each row over its greatest, weighted by the row's share of the whole."""
    rows_R = importance_RxC.sum(axis=1)
    columns = importance_RxC.shape[1]
    if columns < 2 or not rows_R.sum():
        return 0.0
    even_R = np.array([_entropy(row) for row in importance_RxC]) / np.log(columns)
    return float(np.sum((1.0 - even_R) * rows_R) / rows_R.sum())


def _binned(values_N: np.ndarray) -> Ints:
    edges = np.linspace(values_N.min(), values_N.max(), BINS + 1)
    return np.digitize(values_N, edges[1:-1]).astype(np.int64)


def _information(a_N: Ints, b_N: Ints) -> float:
    """The mutual information of two discrete variables by their frequencies, nats."""
    table = np.zeros((a_N.max() + 1, b_N.max() + 1))
    np.add.at(table, (a_N, b_N), 1.0)
    return _entropy(table.sum(axis=1)) + _entropy(table.sum(axis=0)) - _entropy(table.ravel())


def _entropy(weights: np.ndarray) -> float:
    """Of weights in proportion to probabilities, nats; 0 where there is none."""
    total = weights.sum()
    shares = weights[weights > 0] / total
    return float(-np.sum(shares * np.log(shares)))
