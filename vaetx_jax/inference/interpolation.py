"""Paths between two points of a latent space, and the principal axes of many."""

from typing import NamedTuple

import numpy as np

# A spread below this share of the largest number is rounding, that of encoding in float32 included.
_ROUNDING = 1e-6


class LatentMap(NamedTuple):
    """Points on a plane [N, 2], and the share of their variance along each of its axes."""

    points_Nx2: np.ndarray
    shares_2: np.ndarray


class PrincipalAxes(NamedTuple):
    """Directions of a cloud of points.

    Attributes:
      centre_Z: the mean of the points.
      axes_KxZ: unit vectors, at right angles to each other.
      spread_K: the points' standard deviation along each.
      shares_K: of the points' whole variance along each.
    """

    centre_Z: np.ndarray
    axes_KxZ: np.ndarray
    spread_K: np.ndarray
    shares_K: np.ndarray

    def project(self, points_NxZ: np.ndarray) -> np.ndarray:
        """The coordinates of points [N, Z] along the axes: [N, K]."""
        return (np.asarray(points_NxZ, np.float64) - self.centre_Z[None]) @ self.axes_KxZ.T


def linear_path(a_Z: np.ndarray, b_Z: np.ndarray, steps: int) -> np.ndarray:
    """[steps, Z], evenly spaced on the straight line from a to b, both included."""
    along_Sx1 = np.linspace(0.0, 1.0, steps)[:, None]
    return ((1 - along_Sx1) * a_Z[None] + along_Sx1 * b_Z[None]).astype(np.float32)


def spherical_path(a_Z: np.ndarray, b_Z: np.ndarray, steps: int) -> np.ndarray:
    """[steps, Z] on the great circle from a to b (Shoemake, 1985), both included.

    The angle grows evenly, and so does the length from that of a to that of b. Where no circle is
    defined (a length of 0, the same or the opposite direction) the path is the straight line.
    """
    a, b = np.asarray(a_Z, np.float64), np.asarray(b_Z, np.float64)
    length_a, length_b = np.linalg.norm(a), np.linalg.norm(b)
    if not length_a or not length_b:
        return linear_path(a_Z, b_Z, steps)
    unit_a, unit_b = a / length_a, b / length_b
    angle = np.arccos(np.clip(unit_a @ unit_b, -1.0, 1.0))
    if np.sin(angle) < 1e-6:
        return linear_path(a_Z, b_Z, steps)
    along_Sx1 = np.linspace(0.0, 1.0, steps)[:, None]
    direction = np.sin((1 - along_Sx1) * angle) * unit_a[None] + np.sin(along_Sx1 * angle) * unit_b
    length_Sx1 = (1 - along_Sx1) * length_a + along_Sx1 * length_b
    return (length_Sx1 * direction / np.sin(angle)).astype(np.float32)


PATHS = {"linear": linear_path, "spherical": spherical_path}


def principal_axes(points_NxZ: np.ndarray, count: int) -> PrincipalAxes:
    """The axes along which points [N, Z] vary most, in order; those that they lack are 0.

    Few points lack axes, and so do points that differ by no more than rounding.

    An axis points to where its largest weight is positive (scikit-learn's `svd_flip`), so that it
    is the same every time.
    """
    from sklearn.decomposition import PCA  # here, because it is slow to import

    points = np.asarray(points_NxZ, np.float64)
    rows, width = points.shape
    centre_Z, axes_KxZ = np.zeros(width), np.zeros((count, width))
    spread_K, shares_K = np.zeros(count), np.zeros(count)
    if rows:
        centre_Z = points.mean(axis=0)
    if rows > 1 and width:
        found = PCA(min(count, rows, width), svd_solver="full")
        with np.errstate(invalid="ignore"):  # points that are all the same have no variance
            found.fit(points)
        spread = found.singular_values_ / np.sqrt(rows)
        number = int(np.count_nonzero(spread > _ROUNDING * np.abs(points).max()))
        axes_KxZ[:number] = found.components_[:number]
        spread_K[:number] = spread[:number]
        shares_K[:number] = found.explained_variance_ratio_[:number]
    return PrincipalAxes(centre_Z, axes_KxZ, spread_K, shares_K)


def principal_plane(points_NxZ: np.ndarray) -> LatentMap:
    """The two principal axes of points [N, Z]; what is missing with few points is 0."""
    axes = principal_axes(points_NxZ, 2)
    return LatentMap(axes.project(points_NxZ).astype(np.float32), axes.shares_K)
