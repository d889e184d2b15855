"""Nearest neighbours against numpy's whole table, and paths through a latent space."""

import numpy as np
import pytest

from vaetx_jax.errors import ConfigError
from vaetx_jax.latent_paths import linear_path, spherical_path
from vaetx_jax.neighbours import NearestRows

NOISE = np.random.default_rng(0)
QUERY, CORPUS = NOISE.standard_normal((3, 5)), NOISE.standard_normal((40, 5))


def found(query, corpus, k, part=7, **options):
    nearest = NearestRows(query, k, **options)
    for start in range(0, len(corpus), part):
        nearest.add(corpus[start : start + part])
    return nearest.found()


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


def test_equally_near_rows_come_in_the_order_of_the_corpus():
    rows, _ = found(QUERY[:1], np.repeat(QUERY[:1], 9, axis=0), 5, part=2)
    assert rows.tolist() == [[0, 1, 2, 3, 4]]


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
