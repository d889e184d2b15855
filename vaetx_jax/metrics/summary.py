"""Perplexities and the other metrics of a split, from its exact sums."""

import dataclasses
import math
from typing import Any

import numpy as np

from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.metrics import latent
from vaetx_jax.metrics.estimator import Estimates

NEAR_LIMIT = 0.5  # nats below ln N, where an estimate of `mi` says more of N than of the latent


@dataclasses.dataclass(frozen=True)
class SplitFacts:
    """The counts of a split, which need no model.

    Attributes:
      sentences, tokens, words, truncated: as `evaluation.json` has them; tokens hold [SEP],
        `words` are those wholly kept.
    """

    sentences: int
    tokens: int
    words: int
    truncated: int


def summary(estimates: Estimates, facts: SplitFacts, *, iw_samples: int) -> dict[str, Any]:
    """The measured fields of `evaluation.json` (DESIGN of the numbers: docs/concepts and README).

    Latent fields are None for a language model, importance-weighted ones where it was left out.
    """
    nll, kl = float(np.sum(estimates.nll_N)), float(np.sum(estimates.kl_N))
    latent_dim = estimates.mu_NxZ.shape[1]
    words = facts.words + facts.sentences  # and one end per sentence

    def both(name: str, nats: float | None) -> dict[str, float | None]:
        if nats is None:
            return {name: None, f"{name}_word": None}
        return {name: perplexity(nats, facts.tokens), f"{name}_word": perplexity(nats, words)}

    iw = None if estimates.iw_N is None else -float(np.sum(estimates.iw_N))
    n = max(facts.sentences, 1)
    metrics: dict[str, Any] = dataclasses.asdict(facts)
    metrics |= {"nll": nll / n, "kl": kl / n if latent_dim else None}
    metrics |= both("ppl_rec", nll) | both("ppl_elbo", nll + kl) | both("ppl_iw", iw)
    metrics |= {"iw_samples": iw_samples, "latent_dim": latent_dim or None}
    posterior = (estimates.z_NxZ, estimates.mu_NxZ, estimates.logvar_NxZ)
    metrics |= {"mi_b32": None, "mi": None, "mi_limit": None, "au": None}
    if latent_dim:
        metrics["mi_b32"] = latent.mutual_information_in_batches(*posterior)
        metrics["mi"] = latent.mutual_information(*posterior)
        metrics["mi_limit"] = math.log(n)
        metrics["au"] = latent.active_units(estimates.mu_NxZ)
    return metrics


def perplexity(nats: float, units: float) -> float:
    """exp(nats / units), infinite where float64 cannot hold it."""
    each = nats / max(units, 1)
    return math.exp(each) if each < 700.0 else math.inf


def split_facts(split: TokenizedSplit) -> SplitFacts:
    """The counts of a split, which need no model."""
    return SplitFacts(
        sentences=len(split),
        tokens=len(split.tokens) + len(split),  # and one [SEP] per sentence
        words=int(split.words.sum()),
        truncated=int(split.cut.sum()),
    )


def with_samples(name: str, samples: int | str) -> str:
    """A metric's name as it is printed: the importance-weighted ones with their K."""
    return f"{name} (K={samples})" if name.startswith("ppl_iw") else name


def near_limit(metrics: dict[str, Any]) -> bool:
    """Whether `mi` is within half a nat of the limit of its estimate, ln N."""
    mi, limit = metrics.get("mi"), metrics.get("mi_limit")
    return mi is not None and limit is not None and mi > limit - NEAR_LIMIT


def notes(metrics: dict[str, Any]) -> list[str]:
    """Notes for the reader of an evaluation, in sentences without a full stop."""
    found = []
    if near_limit(metrics):
        found.append(
            f"mi = {metrics['mi']:.2f} is near its limit, ln N = {metrics['mi_limit']:.2f}, so it "
            "is a lower bound and marginal_kl an upper one"
        )
    if metrics.get("reference"):
        found.append(f"the reference of gain and behind_lm: {metrics['reference']}")
    return found
