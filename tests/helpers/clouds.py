"""Latents of two classes."""

import numpy as np


def two_classes(rows, *, distance, dims=3, seed=0):
    """z [N, Z] of two round clouds and their labels; `distance` 0: the label is not in z."""
    noise = np.random.default_rng(seed)
    y_N = noise.integers(0, 2, rows)
    z_NxZ = noise.standard_normal((rows, dims))
    z_NxZ[:, 0] += distance * (2 * y_N - 1)
    return z_NxZ.astype(np.float32), y_N
