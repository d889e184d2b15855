"""Classifiers fitted to few labels."""

import numpy as np

from tests.helpers.clouds import two_classes
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.probe.few_labels import draw_rows, few_label_rows, sizes_below


def test_a_draw_takes_as_many_of_each_class_as_there_are():
    y = np.repeat([0, 1, 3], [50, 20, 4])
    rows = draw_rows(y, 10, 0, 10, 1)
    np.testing.assert_array_equal(np.bincount(y[rows]), [10, 10, 0, 4])
    assert len(set(rows)) == len(rows)
    np.testing.assert_array_equal(rows, draw_rows(y, 10, 0, 10, 1))
    assert set(rows) != set(draw_rows(y, 10, 0, 10, 2))


def test_sizes_that_would_take_every_row_are_left_out():
    assert sizes_below(np.repeat([0, 1], [10, 5])) == []
    assert sizes_below(np.repeat([0, 1], [11, 5])) == [10]
    assert sizes_below(np.repeat([0, 1], [4_000, 5])) == [10, 100, 1_000]


def test_few_labels_are_enough_where_the_label_is_plain():
    clouds = {
        split: two_classes(300, distance=5.0, seed=place) for place, split in enumerate(SPLITS)
    }
    features = {"z": {split: z for split, (z, _) in clouds.items()}}
    y = {split: labels for split, (_, labels) in clouds.items()}
    ticks = []
    rows = few_label_rows(features, y, classes=2, seed=0, tick=lambda: ticks.append(1))
    assert [row["labels_per_class"] for row in rows] == [10, 100]
    assert [row["labels"] for row in rows] == [20, 200]
    assert len(ticks) == 10
    for row in rows:
        assert row["accuracy_mean"] > 0.98 and row["macro_f1_mean"] > 0.98
        assert 0 <= row["accuracy_std"] < 0.02
