"""The step between two sets of sentences."""

import numpy as np

from vaetx_jax.inference.steering import shift_between


def test_the_mean_of_a_large_set_keeps_its_digits():
    """float32 sums of so many rows, one after the other, are off in the fourth digit."""

    def encode(sentences):
        mean_NxZ = np.full((len(sentences), 2), 0.1 * len(sentences[0]), np.float32)
        return mean_NxZ, np.ones_like(mean_NxZ)

    step_Z = shift_between(encode, ["a"] * 20_000, ["abc"] * 20_000)
    np.testing.assert_allclose(step_Z, [0.2, 0.2], rtol=1e-6)
    assert step_Z.dtype == np.float32
