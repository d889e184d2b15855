"""Sentences from drawn latents."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from vaetx_jax.inference.arguments import check_integer
from vaetx_jax.inference.batching import WINDOW
from vaetx_jax.inference.decoding import make_decoding
from vaetx_jax.inference.latent_prior import LatentPrior
from vaetx_jax.inference.sentences import decode_latents
from vaetx_jax.models.language_model import Variables
from vaetx_jax.run.run import Run


def draw_latents(
    run: Run, prior: LatentPrior | None, noise: np.random.Generator, count: int
) -> np.ndarray:
    """Latents [count, Z] of a prior, float32; None: of N(0, I)."""
    if prior is not None:
        return prior.draw(noise, count)
    return noise.standard_normal((count, run.model.latent_dim)).astype(np.float32)


def stream_samples(
    run: Run,
    variables: Variables,
    n: int,
    *,
    prior: LatentPrior | None,
    seed: int,
    how: dict[str, Any],
) -> Iterator[str]:
    """n sentences: z from the prior, then tokens, by default at temperature 1.

    Args:
      prior: None: N(0, I).
      how: fields of `Decoding`.
    """
    searches = check_integer("beam", how.get("beam", 1), 1) > 1
    chosen = make_decoding({"temperature": 0.0 if searches else 1.0} | how)
    noise = np.random.default_rng(seed)

    def draw() -> Iterator[str]:
        for start in range(0, n, WINDOW):
            count = min(WINDOW, n - start)
            z_NxZ = draw_latents(run, prior, noise, count)
            yield from decode_latents(run, variables, z_NxZ, seed=seed, how=chosen, first_row=start)

    return draw()
