"""Batches that fit a call: every row once, few sizes, the cheapest of them."""

import itertools

import numpy as np
import pytest

from vaetx_jax.inference.batching import SIZES, batch_cost, batch_sizes, batches_of_rows


@pytest.mark.parametrize("most", [1, 2, 11, 64])
@pytest.mark.parametrize("overhead", [1, 20])
def test_few_sizes_hold_all_rows(most, overhead):
    for count in range(150):
        sizes = batch_sizes(count, most=most, overhead=overhead)
        assert sum(sizes) >= count
        assert set(sizes) <= {*SIZES, most}


@pytest.mark.parametrize("overhead", [1, 20])
def test_the_sizes_are_the_cheapest_there_are(overhead):
    for count in range(1, 65):
        every = itertools.product(range(9), range(2))  # batches of 8, batches of 64
        costs = [
            batch_cost((8,) * eights + (64,) * whole, overhead)
            for eights, whole in every
            if 8 * eights + 64 * whole >= count
        ]
        assert batch_cost(batch_sizes(count, overhead=overhead), overhead) == min(costs)


def test_each_row_is_in_one_batch():
    for count in (0, 1, 7, 64, 200):
        batches = list(batches_of_rows(count))
        assert np.concatenate([[], *(rows for rows, _ in batches)]).tolist() == list(range(count))
        assert all(len(rows) <= size for rows, size in batches)
