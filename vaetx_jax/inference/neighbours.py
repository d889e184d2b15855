"""Exact nearest neighbours in a corpus of any size, which is seen a part at a time."""

from typing import NamedTuple

import numpy as np

from vaetx_jax.inference.arguments import check_integer, check_name

METRICS = ("cosine", "euclidean")


class Neighbours(NamedTuple):
    """The nearest rows of each query, nearest first.

    Attributes:
      rows_QxK: their row numbers in the corpus.
      scores_QxK: cosine similarity (1 is the same direction), or Euclidean distance.
    """

    rows_QxK: np.ndarray
    scores_QxK: np.ndarray


class NearestRows:
    """Keeps the k nearest rows of each query while the parts of a corpus are added.

    Rows equally near come in the order of the corpus. A vector of length 0 has a cosine of 0 with
    every other.

    Raises:
      ConfigError: an unknown metric, or k below 1.
    """

    def __init__(self, query_QxZ: np.ndarray, k: int, *, metric: str = "cosine"):
        self._metric = check_name("metric", metric, METRICS)
        self._k, self._seen = check_integer("k", k, 1), 0
        query = np.asarray(query_QxZ, np.float64)
        self._query_QxZ = self._scale(query)
        self._rows_QxK = np.zeros((len(query), 0), np.int64)
        self._far_QxK = np.zeros((len(query), 0))

    def add(self, part_MxZ: np.ndarray) -> None:
        """Adds the next rows of the corpus."""
        part = self._scale(np.asarray(part_MxZ, np.float64))
        far_QxM = np.zeros((len(self._query_QxZ), len(part)))
        for row, query_Z in zip(far_QxM, self._query_QxZ, strict=True):
            if self._metric == "cosine":
                # Not a matrix product, which rounds equal rows otherwise at another place.
                row[:] = -np.einsum("mz,z->m", part, query_Z)
            else:
                # From the differences themselves: |a|² + |b|² - 2ab loses near neighbours.
                row[:] = np.linalg.norm(part - query_Z[None], axis=1)
        rows_M = np.arange(self._seen, self._seen + len(part))
        self._seen += len(part)
        far = np.concatenate([self._far_QxK, far_QxM], axis=1)
        rows = np.concatenate([self._rows_QxK, np.broadcast_to(rows_M, far_QxM.shape)], axis=1)
        order = np.argsort(far, axis=1, kind="stable")[:, : self._k]
        self._far_QxK = np.take_along_axis(far, order, axis=1)
        self._rows_QxK = np.take_along_axis(rows, order, axis=1)

    def result(self) -> Neighbours:
        """The nearest so far; fewer than k where the corpus has fewer rows."""
        sign = -1.0 if self._metric == "cosine" else 1.0
        return Neighbours(self._rows_QxK, (sign * self._far_QxK).astype(np.float32))

    def _scale(self, x_NxZ: np.ndarray) -> np.ndarray:
        if self._metric != "cosine" or not x_NxZ.size:
            return x_NxZ
        from sklearn.preprocessing import normalize  # here, because it is slow to import

        return normalize(x_NxZ)  # a vector of length 0 stays as it is
