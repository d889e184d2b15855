"""The map on which neighbours lie together."""

import numpy as np
import pytest

from vaetx_jax.inference import neighbour_map as lib
from vaetx_jax.inference.neighbour_map import nearest_rows, neighbour_map


def groups(count, size, *, dimensions=8, spread=0.05):
    """Points [count * size, dimensions] in tight groups, and each one's group."""
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((count, dimensions))
    group_N = np.repeat(np.arange(count), size)
    return centres[group_N] + spread * draw.standard_normal((len(group_N), dimensions)), group_N


def of_own_group(map_Nx2, group_N):
    """The share of the points whose nearest other point is one of their group."""
    far_NxN = np.linalg.norm(map_Nx2[:, None] - map_Nx2[None], axis=2)
    np.fill_diagonal(far_NxN, np.inf)
    return np.mean(group_N[np.argmin(far_NxN, axis=1)] == group_N)


def test_neighbours_lie_together():
    points_NxZ, group_N = groups(6, 20)
    assert of_own_group(neighbour_map(points_NxZ), group_N) == 1


def test_it_is_the_same_for_a_seed():
    points_NxZ, _ = groups(3, 10)
    np.testing.assert_array_equal(neighbour_map(points_NxZ), neighbour_map(points_NxZ))


def test_the_points_beyond_the_limit_lie_at_their_nearest(monkeypatch):
    monkeypatch.setattr(lib, "MOST_POINTS", 30)
    points_NxZ, group_N = groups(3, 40)
    map_Nx2 = neighbour_map(points_NxZ)
    places = np.unique(map_Nx2, axis=0)
    assert map_Nx2.shape == (120, 2) and len(places) == 30
    for place in places:
        assert len(set(group_N[(map_Nx2 == place[None]).all(axis=1)])) == 1


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 4), (9, 4)])
def test_points_without_a_spread_lie_at_the_origin(shape):
    rounding = np.random.default_rng(0).standard_normal(shape) * 1e-8
    for points in (np.ones(shape), np.ones(shape) + rounding):
        np.testing.assert_array_equal(neighbour_map(points), np.zeros((shape[0], 2)))


def test_one_dimension_and_few_points_are_enough():
    assert np.isfinite(neighbour_map(np.arange(4.0)[:, None])).all()


def test_the_nearest_row_is_found():
    among = np.array([[0.0, 0.0], [1.0, 1.0]])
    assert nearest_rows(np.array([[0.9, 0.8], [0.1, 0.0]]), among).tolist() == [1, 0]
    assert nearest_rows(np.zeros((0, 2)), among).tolist() == []
