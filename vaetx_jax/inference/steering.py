"""Steering: the difference between two sets of sentences, added to a latent."""

from collections.abc import Callable, Sequence

import numpy as np

from vaetx_jax.errors import UserError

Encode = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]


def shift_between(encode: Encode, start: Sequence[str], end: Sequence[str]) -> np.ndarray:
    """The mean of the posterior means of `end` minus that of `start`, [Z] float32.

    Args:
      encode: sentences to means and standard deviations [N, Z] each.

    Raises:
      UserError: one of the two has no sentence.
    """
    for name, sentences in (("start", start), ("end", end)):
        if not len(sentences):
            raise UserError(f"{name}: no sentence; give at least one to take the mean of")
    # Row after row in float32, the sum of a large set would lose its last digits.
    from_Z, to_Z = (encode(one)[0].mean(axis=0, dtype=np.float64) for one in (start, end))
    return np.asarray(to_Z - from_Z, np.float32)
