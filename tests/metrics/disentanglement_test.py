"""MIG and DCI on latents whose scores are known."""

import numpy as np
import pytest

from vaetx_jax.metrics.disentanglement import dci, mig, scores_of


@pytest.fixture(scope="module")
def causes():
    """Two independent causes of two and four values, each combination as often."""
    return np.array([(a, b) for a in range(2) for b in range(4)] * 50)


def test_a_dimension_for_each_cause_is_worth_one(causes):
    mu_NxZ = causes.astype(np.float32)
    assert mig(mu_NxZ, causes) == pytest.approx(1)
    found = dci(mu_NxZ, causes)
    assert found.informativeness == 1
    assert found.disentanglement > 0.9 and found.completeness > 0.9


def test_a_cause_that_two_dimensions_tell_alike_has_no_gap(causes):
    twice_NxZ = np.repeat(causes, 2, axis=1).astype(np.float32)
    assert mig(twice_NxZ, causes) == pytest.approx(0)
    assert dci(twice_NxZ, causes).disentanglement > 0.9  # each still encodes one cause


def test_the_gap_is_in_shares_of_the_causes_entropy(causes):
    # The second dimension tells half of the second cause's two bits, and nothing of the first.
    mu_NxZ = np.stack([causes[:, 1], causes[:, 1] // 2], axis=1).astype(np.float32)
    assert mig(mu_NxZ, causes) == pytest.approx((0 + 0.5) / 2)


def test_noise_tells_of_nothing(causes):
    noise_NxZ = np.random.default_rng(0).standard_normal((len(causes), 3))
    assert mig(noise_NxZ, causes) < 0.05
    assert dci(noise_NxZ, causes).disentanglement < 0.1


def test_the_same_latent_has_the_same_scores(causes):
    noise_NxZ = np.random.default_rng(1).standard_normal((len(causes), 2))
    assert dci(noise_NxZ, causes) == dci(noise_NxZ, causes)


@pytest.mark.parametrize(
    ("importance", "expected"),
    [
        ([[1, 0], [0, 1]], (1, 1)),
        ([[1, 1], [1, 1]], (0, 0)),
        ([[1, 0], [1, 0], [0, 2]], (1, 1 - np.log(2) / np.log(3) / 2)),
        ([[0, 0], [3, 0]], (1, 1)),
        ([[0, 0], [0, 0]], (0, 0)),
    ],
)
def test_a_table_of_importances_has_the_scores_of_the_definition(importance, expected):
    assert scores_of(np.array(importance, float)) == pytest.approx(expected)
