"""The final report's map: the axes that separate a label."""

import numpy as np
import pytest

from vaetx_jax.final_report import separating_axes

NOISE_60x4 = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
LABELS_60 = np.arange(60) % 4


def test_the_axes_separate_what_the_latent_knows_of_the_label():
    labels_60 = np.where(np.arange(60) < 56, LABELS_60, -1)
    points_60x2 = separating_axes(NOISE_60x4 + 20 * np.eye(4)[LABELS_60], labels_60)
    centres_4x2 = np.stack([points_60x2[label::4].mean(axis=0) for label in range(4)])
    apart = np.linalg.norm(centres_4x2[:, None] - centres_4x2[None], axis=-1)
    assert points_60x2.shape == (60, 2) and apart[~np.eye(4, dtype=bool)].min() > 5


@pytest.mark.parametrize(
    ("latents", "labels"),
    [
        (NOISE_60x4, LABELS_60 % 2),
        (NOISE_60x4[:, :1], LABELS_60),
        (NOISE_60x4[:5], np.array([0, 1, 2, 3, 3])),
        (NOISE_60x4[:, :1] * np.ones(4, np.float32), LABELS_60),
        (np.ones((60, 4), np.float32), LABELS_60),
        (np.eye(4, dtype=np.float32)[LABELS_60], LABELS_60),
        (NOISE_60x4, np.full(60, -1)),
    ],
    ids=["two classes", "one unit", "few rows", "a line", "constant", "no spread", "no label"],
)
def test_without_two_such_axes_there_are_none(latents, labels):
    assert separating_axes(latents, labels) is None
