"""Sentences decoded from combinations of the latents of others: ends, triples, sets."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from vaetx_jax.inference.arguments import check_seed
from vaetx_jax.inference.batching import WINDOW, windows
from vaetx_jax.inference.decoding import make_decoding


class Model(Protocol):
    """The encoding and decoding methods of a `TextModel`."""

    def encode(self, sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]: ...

    def decode(
        self, z: np.ndarray, *, seed: int = 0, first_row: int = 0, **how: Any
    ) -> list[str]: ...


def decode_groups(
    model: Model,
    groups: Iterable[tuple[str, ...]],
    latents_of: Callable[[np.ndarray], np.ndarray],
    count: int,
    *,
    seed: int,
    how: dict[str, Any],
) -> Iterator[list[str]]:
    """Decodes latents that are made of each group's posterior means.

    Args:
      groups: G sentences each, as many in all of them.
      latents_of: means [G, Z] -> latents [count, Z].
      how: fields of `Decoding`; refused here, before the first group is read.
    """
    make_decoding(how)
    seed = check_seed(seed)

    def decode_all() -> Iterator[list[str]]:
        first_row = 0
        for window in windows(groups, max(1, WINDOW // count)):
            mean, _ = model.encode([sentence for group in window for sentence in group])
            latents = [latents_of(mean_GxZ) for mean_GxZ in np.split(mean, len(window))]
            z_NxZ = np.concatenate(latents)
            yield from windows(model.decode(z_NxZ, seed=seed, first_row=first_row, **how), count)
            first_row += len(z_NxZ)

    return decode_all()


def decode_each(
    model: Model,
    sentences: Iterable[str],
    moved: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    how: dict[str, Any],
) -> Iterator[str]:
    """One sentence for each, from its posterior mean.

    Args:
      moved: mean [1, Z] -> the latent that is decoded, [1, Z].
    """
    groups = ((sentence,) for sentence in sentences)
    decoded = decode_groups(model, groups, moved, 1, seed=seed, how=how)
    return (sentence for (sentence,) in decoded)
