"""Ways through a latent space: between two points, and the plane that shows most of many."""

from typing import NamedTuple

import numpy as np


class LatentMap(NamedTuple):
    """A plane through points: where they lie on it, and the share of their variance it shows."""

    points_Nx2: np.ndarray
    shares_2: np.ndarray


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


def principal_plane(points_NxZ: np.ndarray) -> LatentMap:
    """The two principal axes of points [N, Z]; what is missing with few points is 0.

    An axis points where its largest weight is positive, so that the map is the same every time.
    """
    points_Nx2, shares_2 = np.zeros((len(points_NxZ), 2), np.float32), np.zeros(2)
    if not points_NxZ.size:
        return LatentMap(points_Nx2, shares_2)
    points = np.asarray(points_NxZ, np.float64)
    centred = points - points.mean(axis=0, keepdims=True)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    total = np.sum(values**2)
    for i, (value, axis) in enumerate(zip(values[:2], axes[:2], strict=True)):
        sign = 1.0 if axis[np.argmax(np.abs(axis))] >= 0 else -1.0
        points_Nx2[:, i] = sign * (centred @ axis)
        shares_2[i] = value**2 / total if total else 0.0
    return LatentMap(points_Nx2, shares_2)
