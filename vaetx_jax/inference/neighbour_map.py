"""A map of latents on which neighbours stay neighbours: t-SNE (van der Maaten and Hinton, 2008).

Distances between groups, their sizes and the axes mean nothing on it; which points lie together
does.
"""

import numpy as np

from vaetx_jax.inference.interpolation import principal_axes

MOST_POINTS = 2_000  # that are laid out; it takes seconds
_PERPLEXITY = 30.0  # neighbours that each point looks at, about


def neighbour_map(points_NxZ: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Points [N, Z] on a plane, float32 [N, 2], the same for a seed.

    At most `MOST_POINTS`, drawn by the seed, are laid out; each of the others lies where the one of
    them lies that is nearest to it. Points without any spread lie all at 0.
    """
    points = np.asarray(points_NxZ, np.float64)
    drawn = np.random.default_rng(seed).permutation(len(points))[:MOST_POINTS]
    laid_Mx2 = _lay_out(points[drawn], seed)
    map_Nx2 = laid_Mx2[nearest_rows(points, points[drawn])]
    map_Nx2[drawn] = laid_Mx2
    return map_Nx2


def nearest_rows(points_NxZ: np.ndarray, among_MxZ: np.ndarray) -> np.ndarray:
    """For each point the row of the nearest one among others, [N]."""
    if not len(points_NxZ):
        return np.zeros(0, np.int64)
    from sklearn.metrics import pairwise_distances_argmin  # here, because it is slow to import

    rows_N: np.ndarray = pairwise_distances_argmin(points_NxZ, among_MxZ)
    return rows_N


def _lay_out(points_MxZ: np.ndarray, seed: int) -> np.ndarray:
    count = len(points_MxZ)
    if count < 3 or not principal_axes(points_MxZ, 1).spread_K.any():
        return np.zeros((count, 2), np.float32)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    # A plane has two axes: with one dimension there is no second one to start from.
    start = "pca" if points_MxZ.shape[1] > 1 else "random"
    # On one thread: the sums are then the same every time, and on a busy machine threads that wait
    # for each other take many times as long.
    with threadpool_limits(1):
        tsne = TSNE(perplexity=perplexity, init=start, random_state=seed, n_jobs=1)
        return np.asarray(tsne.fit_transform(points_MxZ), np.float32)
