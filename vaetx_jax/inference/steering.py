"""Steering: the difference between two sets of sentences, added to a latent."""

from collections.abc import Callable, Sequence
from typing import Any

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
    step_Z: Any = encode(end)[0].mean(axis=0) - encode(start)[0].mean(axis=0)
    return np.asarray(step_Z, np.float32)
