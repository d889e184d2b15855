"""A decoder that ignores z altogether, and what KL, MI, active units and the bound say of it.

    python -m benchmarks.unused_latent

No model is trained: the decoder is one whose p(x|z) is p(x) for every z, a language model. Its
posteriors are those of a channel with a set rate: u_j standard normal over the sentences,
z_j = g_j u_j + sqrt(1 - g_j^2) eps with g_j^2 = 1 - exp(-2 r_j), whose KL to the prior is r_j nats
on average, and whose aggregated posterior is the prior. All that KL buys nothing, so the ELBO is
behind the decoder's own log p(x) by the KL. The importance-weighted bound is behind by

    -E[ log 1/K sum_k p(z_k) / q(z_k|x) ],    z_k from q(z|x),

since p(x|z_k) = p(x) leaves the sum. `use` and `gain` are 0 by construction.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vaetx_jax.metrics.latent import active_units, mutual_information
from vaetx_jax.reports.tables import markdown

SAMPLES = (1, 20, 50, 500)  # K
_BLOCK = 1 << 22  # latents drawn at a time, as numbers


class Row(NamedTuple):
    """The figures of one latent.

    Attributes:
      kl, mi: nats per sentence; mi_limit: ln N.
      au: active units, of all.
      behind: K -> (nats per sentence that the bound is behind log p(x), its standard error).
    """

    kl: float
    mi: float
    mi_limit: float
    au: int
    behind: dict[int, tuple[float, float]]


def rates(rate: float, dims: int, *, spread: float) -> np.ndarray:
    """r_j of each dimension, [Z] nats; they sum to `rate`.

    Args:
      spread: 0: all the same; else a quarter is shared out evenly and the rest as the softmax of
        that many standard deviations, which makes a few dimensions carry the most.
    """
    scores_Z = spread * np.linspace(-1.7, 1.7, dims)
    shares_Z = np.exp(scores_Z - scores_Z.max())
    return np.asarray(rate * (0.25 / dims + 0.75 * shares_Z / shares_Z.sum()))


def posteriors(rate_Z: np.ndarray, sentences: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and log-variances [N, Z] of a channel whose summaries u are standardised exactly."""
    u_NxZ = np.random.default_rng(seed).standard_normal((sentences, len(rate_Z)))
    u_NxZ = (u_NxZ - u_NxZ.mean(axis=0)) / u_NxZ.std(axis=0)
    mu_NxZ = np.sqrt(-np.expm1(-2 * rate_Z)) * u_NxZ
    return mu_NxZ, np.broadcast_to(-2 * rate_Z, mu_NxZ.shape)


def shortfalls(
    mu_NxZ: np.ndarray, logvar_NxZ: np.ndarray, samples: int, *, seed: int
) -> np.ndarray:
    """How far the bound by K samples is behind log p(x), for each sentence, [N] nats."""
    noise, behind = np.random.default_rng(seed), []
    step = max(1, _BLOCK // (samples * mu_NxZ.shape[1]))
    for start in range(0, len(mu_NxZ), step):
        mu, logvar = (a[start : start + step, None] for a in (mu_NxZ, logvar_NxZ))
        eps_BxKxZ = noise.standard_normal((len(mu), samples, mu.shape[2]), dtype=np.float32)
        z_BxKxZ = mu + np.exp(0.5 * logvar) * eps_BxKxZ
        # log p(z) - log q(z|x); the constants of the two densities are the same
        weight_BxK = 0.5 * np.sum(np.square(eps_BxKxZ) + logvar - np.square(z_BxKxZ), axis=2)
        top_B = weight_BxK.max(axis=1, keepdims=True)
        mean_B = np.mean(np.exp(weight_BxK - top_B), axis=1)
        behind.append(-(np.log(mean_B) + top_B[:, 0]))
    return np.concatenate(behind)


def row(
    rate_Z: np.ndarray, *, sentences: int, samples: Sequence[int] = SAMPLES, seed: int = 0
) -> Row:
    """The figures of N sentences with posteriors of the given rates."""
    mu, logvar = posteriors(rate_Z, sentences, seed=seed)
    kl = 0.5 * np.sum(np.exp(logvar) + np.square(mu) - 1 - logvar, axis=1)
    eps = np.random.default_rng(seed + 1).standard_normal(mu.shape)
    behind = {}
    for k in samples:
        nats_N = shortfalls(mu, logvar, k, seed=seed + 2)
        behind[k] = (float(nats_N.mean()), float(nats_N.std(ddof=1) / np.sqrt(sentences)))
    return Row(
        kl=float(kl.mean()),
        mi=mutual_information(mu + np.exp(0.5 * logvar) * eps, mu, logvar),
        mi_limit=float(np.log(sentences)),
        au=active_units(mu),
        behind=behind,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rate", type=float, default=8.0, help="KL, nats per sentence")
    parser.add_argument("--dims", type=int, nargs="+", default=[32, 128], help="widths of z")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--samples", type=int, nargs="+", default=list(SAMPLES), help="K")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    lines = []
    for dims in args.dims:
        for name, spread in (("evenly", 0.0), ("unevenly", 2.0)):
            found = row(
                rates(args.rate, dims, spread=spread),
                sentences=args.sentences,
                samples=args.samples,
                seed=args.seed,
            )
            line = [f"{dims} dimensions, {name}", f"{found.kl:.2f}", f"{found.mi:.2f}"]
            line += [f"{found.au} of {dims}", "0", "0"]
            lines.append(line + [f"{nats:.2f} ± {e:.2f}" for nats, e in found.behind.values()])
    head = ["the rate is shared out over", "`kl`", "`mi`", "`au`", "`use`", "`gain`"]
    head += [f"bound behind, K={k}" for k in args.samples]
    print(markdown(head, lines))
    print(f"{args.sentences:,} sentences, seed {args.seed}; nats per sentence, ± standard error;")
    print(f"`mi` cannot exceed ln N = {np.log(args.sentences):.2f}.")


if __name__ == "__main__":
    main()
