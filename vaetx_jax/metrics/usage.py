"""Whether the decoder uses z: figures that KL, MI, active units and the bound cannot give.

All are means over the sentences of a split, in nats per sentence. `use` compares the decoder with
itself, `gain` and `behind_lm` with a language model over the same tokens, the reference.
"""

from typing import Any

import numpy as np

from vaetx_jax.metrics.estimator import Estimates


def other_rows(sentences: int, *, seed: int) -> np.ndarray:
    """For each of N >= 2 sentences the number of another one, [N]: no sentence has its own.

    The next one in a cyclic order that is drawn by the seed. It depends on nothing but N and the
    seed, so no batch size, number of devices or bucketing changes it, and every latent is used
    exactly once.
    """
    order_N = np.random.default_rng(seed).permutation(sentences)
    others_N = np.empty(sentences, np.int64)
    others_N[order_N] = np.roll(order_N, -1)
    return others_N


def latent_use(
    estimates: Estimates, nll_other_N: np.ndarray | None, *, mi: float
) -> dict[str, Any]:
    """`use` with its standard error, and `marginal_kl`.

    `use` is the nll with another sentence's z minus the nll with its own: about 0 where the decoder
    ignores z. It is no bound on anything: a latent that misleads costs more than one that is
    missing.

    `marginal_kl` = kl - mi estimates the KL of the aggregated posterior to the prior: the part of
    the rate that says nothing about the sentence (Hoffman and Johnson, 2016).

    Args:
      nll_other_N: nll of each sentence at the draw of another; None: there is no other sentence.
      mi: the mutual information over the same sentences.
    """
    figures: dict[str, Any] = {"use": None, "use_se": None}
    if nll_other_N is not None:
        figures["use"], figures["use_se"] = mean_and_error(nll_other_N - estimates.nll_N)
    return figures | {"marginal_kl": float(np.mean(estimates.kl_N)) - mi}


def against_reference(estimates: Estimates, reference_nll_N: np.ndarray) -> dict[str, Any]:
    """`gain` and `behind_lm` with their standard errors over the sentences.

    `gain` is the reference's nll minus the nll with the sentence's own z: what z is worth to the
    decoder beyond what a language model knows, before its price is paid. `behind_lm` is the best
    bound there is on -log p(x), the importance-weighted one or the negative ELBO, minus the
    reference's nll: above 0, the VAE is the worse model of text (as far as the bound is tight).

    Args:
      reference_nll_N: -log p(x) of each sentence under the language model, nats.
    """
    gain, gain_se = mean_and_error(reference_nll_N - estimates.nll_N)
    behind, behind_se = mean_and_error(-bound(estimates) - reference_nll_N)
    return {"gain": gain, "gain_se": gain_se, "behind_lm": behind, "behind_lm_se": behind_se}


def bound(estimates: Estimates) -> np.ndarray:
    """The best bound on log p(x) that was computed, [N]: importance weighted, else the ELBO."""
    if estimates.iw_N is not None:
        return estimates.iw_N
    return -(estimates.nll_N + estimates.kl_N)


def mean_and_error(values_N: np.ndarray) -> tuple[float, float | None]:
    """The mean and its standard error; a single value has none."""
    n = len(values_N)
    error = float(np.std(values_N, ddof=1) / np.sqrt(n)) if n > 1 else None
    return float(np.mean(values_N)), error


# The figures of this file, and what has none of them: a language model, a VAE without a reference.
NO_USAGE: dict[str, Any] = dict.fromkeys(("use", "use_se", "marginal_kl"))
NO_REFERENCE: dict[str, Any] = dict.fromkeys(
    ("gain", "gain_se", "behind_lm", "behind_lm_se", "reference")
)
