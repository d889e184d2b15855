"""Nearest neighbours against numpy's whole table, and paths through a latent space."""

import numpy as np
import pytest

from vaetx_jax.errors import ConfigError
from vaetx_jax.inference.interpolation import linear_path, principal_axes, spherical_path
from vaetx_jax.inference.neighbours import NearestRows

NOISE = np.random.default_rng(0)
QUERY, CORPUS = NOISE.standard_normal((3, 5)), NOISE.standard_normal((40, 5))


def found(query, corpus, k, part=7, **options):
    nearest = NearestRows(query, k, **options)
    for start in range(0, len(corpus), part):
        nearest.add(corpus[start : start + part])
    return nearest.result()


def test_the_nearest_by_distance_are_those_of_the_whole_table():
    far = np.linalg.norm(QUERY[:, None] - CORPUS[None], axis=2)
    rows, scores = found(QUERY, CORPUS, 6, metric="euclidean")
    np.testing.assert_array_equal(rows, np.argsort(far, axis=1)[:, :6])
    np.testing.assert_allclose(scores, np.sort(far, axis=1)[:, :6], rtol=1e-6)


def test_the_nearest_by_cosine_are_those_of_the_whole_table():
    lengths = np.linalg.norm(QUERY, axis=1)[:, None] * np.linalg.norm(CORPUS, axis=1)[None]
    near = QUERY @ CORPUS.T / lengths
    rows, scores = found(QUERY, CORPUS, 6)
    np.testing.assert_array_equal(rows, np.argsort(-near, axis=1)[:, :6])
    np.testing.assert_allclose(scores, -np.sort(-near, axis=1)[:, :6], rtol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equally_near_rows_come_in_the_order_of_the_corpus(metric):
    """In matrix products of several sizes, equal rows may differ in their last digit."""
    for width in (5, 16, 33, 64):
        query = np.random.default_rng(2).standard_normal((4, width))
        rows, _ = found(query, np.repeat(query[:1], 40, axis=0), 9, part=3, metric=metric)
        assert rows.tolist() == [list(range(9))] * 4


def test_a_vector_of_length_zero_is_like_nothing():
    _, scores = found(np.zeros((1, 5)), CORPUS, 2)
    assert scores.tolist() == [[0.0, 0.0]]


def test_a_corpus_with_fewer_rows_gives_them_all():
    assert found(QUERY, CORPUS[:2], 6).rows_QxK.shape == (3, 2)
    assert found(QUERY, CORPUS[:0], 6).rows_QxK.shape == (3, 0)


def test_a_search_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="k = 0"):
        NearestRows(QUERY, 0)
    with pytest.raises(ConfigError, match="metric = 'l1'"):
        NearestRows(QUERY, 1, metric="l1")


def test_a_great_circle_turns_evenly_and_keeps_the_length():
    a, b = np.asarray([2.0, 0, 0]), np.asarray([0, 2.0, 0])
    path = spherical_path(a, b, 4)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 2.0, rtol=1e-6)
    np.testing.assert_allclose(
        np.degrees(np.arctan2(path[:, 1], path[:, 0])), [0, 30, 60, 90], atol=1e-4
    )


def test_lengths_change_evenly_on_a_great_circle():
    path = spherical_path(np.asarray([1.0, 0]), np.asarray([0, 3.0]), 5)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), [1, 1.5, 2, 2.5, 3], rtol=1e-6)


@pytest.mark.parametrize(
    ("a", "b"), [([0.0, 0], [1.0, 1]), ([1.0, 1], [2.0, 2]), ([1.0, 0], [-1.0, 0])]
)
def test_where_there_is_no_circle_the_path_is_straight(a, b):
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_array_equal(spherical_path(a, b, 3), linear_path(a, b, 3))


def test_principal_axes_are_those_of_the_covariance():
    points = np.random.default_rng(3).standard_normal((50, 4)) * np.asarray([[1.0, 5, 2, 3]]) + 7
    found = principal_axes(points, 3)
    values, vectors = np.linalg.eigh(np.cov(points.T, bias=True))
    np.testing.assert_allclose(found.spread_K, np.sqrt(values[::-1][:3]))
    np.testing.assert_allclose(found.shares_K, values[::-1][:3] / values.sum())
    np.testing.assert_allclose(np.abs(found.axes_KxZ @ vectors[:, ::-1]), np.eye(4)[:3], atol=1e-9)
    np.testing.assert_allclose(found.project(points).std(axis=0), found.spread_K)


def test_axes_that_few_points_lack_are_zero():
    found = principal_axes(np.asarray([[0.0, 0], [2.0, 0]]), 3)
    np.testing.assert_allclose(found.spread_K, [1, 0, 0], atol=1e-12)
    assert not found.axes_KxZ[2].any()
    rounding = np.random.default_rng(0).standard_normal((5, 2)) * 1e-7
    assert not any(map(np.any, principal_axes(3 + rounding, 2)[1:]))
    nothing = principal_axes(np.zeros((0, 2)), 2)
    assert not nothing.spread_K.any() and nothing.centre_Z.tolist() == [0, 0]
