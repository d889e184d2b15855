"""Edit distances, and the smoothness of paths that is made of them."""

import functools
import itertools

import numpy as np
import pytest

from vaetx_jax.metrics.edit_distance import edit_distance, edit_rate, smoothness


def by_recursion(a, b):
    @functools.cache
    def of(i, j):
        if not i or not j:
            return i + j
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return of(len(a), len(b))


def test_the_distance_is_that_of_the_definition():
    draw = np.random.default_rng(0)
    drawn = [draw.integers(0, 3, draw.integers(0, 8)).tolist() for _ in range(12)]
    for a, b in itertools.product(drawn, drawn):
        assert edit_distance(a, b) == by_recursion(a, b), (a, b)


def test_the_rate_counts_edits_per_token_of_the_references():
    assert edit_rate([[1, 2, 3], [4]], [[1, 2, 3], [4]]) == 0
    assert edit_rate([[1, 2, 3], []], [[1, 5, 3], [4]]) == pytest.approx(2 / 4)


def test_a_path_that_changes_a_token_at_a_time_is_straight():
    even = [[1, 1, 1, 1], [2, 1, 1, 1], [2, 2, 1, 1], [2, 2, 2, 1], [2, 2, 2, 2]]
    assert smoothness([even]) == (1.0, 0.25, 1.0)


def test_a_jump_is_one_step_of_the_whole_length():
    assert smoothness([[[1, 1], [1, 1], [2, 2], [2, 2]]]) == (1.0, 1.0, 1.0)


def test_a_detour_is_less_straight():
    assert smoothness([[[1, 1], [5, 6], [1, 2]]])[:2] == (pytest.approx(1 / 4), pytest.approx(0.5))


def test_a_path_whose_ends_are_equal_says_nothing():
    stuck, straight = [[1], [2], [1]], [[1], [1, 2], [1, 2, 3]]
    assert smoothness([stuck, straight]) == (1.0, 0.5, 0.5)
    assert smoothness([stuck]) == (None, None, 0.0)
