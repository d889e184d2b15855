"""Exact sums over a split: nll, KL, importance-weighted bound, mutual information, active units.

Every sentence is counted once. The noise of a sentence depends on the seed and its row alone, never
on its batch, so that no metric changes with the batch size or the number of devices. Sums are taken
on the host in float64.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vaetx_jax.data.batches import EvalBatches
from vaetx_jax.data.bucketing import Batch, device_arrays
from vaetx_jax.losses import elbo as elbo_lib
from vaetx_jax.models import gaussian, text_vae
from vaetx_jax.models.language_model import LanguageModel, Variables, token_mask
from vaetx_jax.runtime.mesh import put_batch, replicated, split_over_data


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Per-sentence metrics of a split in corpus order, nats.

    Attributes:
      nll_N: -log p(x|z) at one z drawn from the posterior.
      kl_N: analytic KL of the posterior to the prior.
      mu_NxZ, logvar_NxZ, z_NxZ: the posteriors and the draw.
      iw_N: the importance-weighted bound on log p(x); None where it was left out.
    """

    nll_N: np.ndarray
    kl_N: np.ndarray
    mu_NxZ: np.ndarray
    logvar_NxZ: np.ndarray
    z_NxZ: np.ndarray
    iw_N: np.ndarray | None


class Estimator:
    """The compiled estimators of one model, used by training-time validation and evaluation."""

    def __init__(self, model: LanguageModel, mesh: Mesh, *, seed: int):
        self._model = model
        self._mesh = mesh
        self._key = jax.random.key(seed)
        self._elbo, self._weighted, self._nll = _programs(model, mesh)

    def run(
        self,
        variables: Variables,
        batches: EvalBatches,
        *,
        sentences: int,
        iw_samples: int = 0,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Estimates:
        """All metrics of a split of `sentences` rows.

        Args:
          iw_samples: draws of the importance-weighted bound; 0 leaves it out.
          progress: called with (batches done, batches) after each batch.
        """
        latent_dim = self._model.latent_dim
        out = Estimates(
            nll_N=np.zeros(sentences),
            kl_N=np.zeros(sentences),
            mu_NxZ=np.zeros((sentences, latent_dim), np.float32),
            logvar_NxZ=np.zeros((sentences, latent_dim), np.float32),
            z_NxZ=np.zeros((sentences, latent_dim), np.float32),
            iw_N=np.zeros(sentences) if iw_samples else None,
        )
        pending: list[tuple[dict[str, jax.Array], jax.Array]] = []
        for i in range(len(batches)):
            batch = put_batch(_for_device(batches[i]), self._mesh)
            rows = jax.device_put(batch["index"], replicated(self._mesh))
            pending.append((self._metrics(variables, batch, self._key, iw_samples), rows))
            if len(pending) > 1:  # read one batch later, so that the devices are never idle
                _store(out, *pending.pop(0))
            progress(i + 1, len(batches))
        for metrics, rows in pending:
            _store(out, metrics, rows)
        return out

    def nll_at(
        self,
        variables: Variables,
        batches: EvalBatches,
        z_NxZ: np.ndarray,
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """-log p(x_n | z_n) of every sentence at a latent that is given for it, [N], nats.

        Row n of `z_NxZ` goes with the sentence whose `index` is n, whatever batch it is in. With
        rows that are moved among the sentences, each sentence keeps its tokens, its length and its
        place in a batch and is decoded from the latent of another.
        """
        nll_N = np.zeros(len(z_NxZ))
        pending: list[tuple[jax.Array, jax.Array]] = []

        def store() -> None:
            nll_B, rows = pending.pop(0)
            rows_B = np.asarray(rows)
            nll_N[rows_B[rows_B >= 0]] = np.asarray(nll_B)[rows_B >= 0]

        for i in range(len(batches)):
            host = _for_device(batches[i])
            host["z"] = np.asarray(z_NxZ[host["index"]], np.float32)  # a filler's is not counted
            batch = put_batch(host, self._mesh)
            rows = jax.device_put(batch["index"], replicated(self._mesh))
            pending.append((self._nll(variables, batch), rows))
            if len(pending) > 1:
                store()
            progress(i + 1, len(batches))
        while pending:
            store()
        return nll_N

    def of_batch(
        self, variables: Variables, batch: Batch, *, seed: int, iw_samples: int = 0
    ) -> dict[str, jax.Array]:
        """`nll`, `kl`, `mu`, `logvar`, `z` and, if asked for, `iw` of a batch's rows, nats.

        Args:
          batch: its `index` numbers the rows' noise.
          seed: of the noise, in place of the estimator's own.
        """
        arrays = put_batch(_for_device(batch), self._mesh)
        return self._metrics(variables, arrays, jax.random.key(seed), iw_samples)

    def _metrics(
        self, variables: Variables, batch: dict[str, jax.Array], key: jax.Array, iw_samples: int
    ) -> dict[str, jax.Array]:
        metrics = self._elbo(variables, batch, key)
        if iw_samples:
            metrics["iw"] = self._weighted(variables, batch, key, iw_samples)
        return metrics


@functools.lru_cache(maxsize=4)
def _programs(model: LanguageModel, mesh: Mesh) -> tuple[Any, Any, Any]:
    """The bound, the weighted one, and nll at given latents, traced once for models of a kind."""
    shardings: dict[str, Any] = {
        "in_shardings": (replicated(mesh), split_over_data(mesh), replicated(mesh)),
        "out_shardings": replicated(mesh),
    }
    elbo = jax.jit(functools.partial(_elbo, model, mesh), **shardings)
    weighted = jax.jit(
        functools.partial(_importance_weighted, model, mesh), static_argnums=3, **shardings
    )
    nll = jax.jit(
        functools.partial(_nll_at, model, mesh),
        in_shardings=shardings["in_shardings"][:2],
        out_shardings=shardings["out_shardings"],
    )
    return elbo, weighted, nll


def _for_device(batch: Batch) -> dict[str, np.ndarray]:
    arrays = device_arrays(batch, "weight")
    return {**arrays, "index": batch["index"].astype(np.int32)}


def _store(out: Estimates, metrics: dict[str, jax.Array], rows: jax.Array) -> None:
    rows_B = np.asarray(rows)
    real = rows_B >= 0
    where = rows_B[real]
    for name, target in (
        ("nll", out.nll_N),
        ("kl", out.kl_N),
        ("mu", out.mu_NxZ),
        ("logvar", out.logvar_NxZ),
        ("z", out.z_NxZ),
        ("iw", out.iw_N),
    ):
        if target is not None:
            target[where] = np.asarray(metrics[name])[real]


def _mask(model: LanguageModel, batch: dict[str, jax.Array]) -> jax.Array:
    return token_mask(batch["ids"], model.pad_id) & (batch["weight"] > 0)[:, None]


def _noise(key: jax.Array, index_B: jax.Array, latent_dim: int, stream: jax.Array) -> jax.Array:
    """eps [B, Z] of draw `stream`: a function of the seed, the row and the draw."""
    key = jax.random.fold_in(key, stream)
    keys_B = jax.vmap(functools.partial(jax.random.fold_in, key))(index_B)
    return jax.vmap(lambda k: jax.random.normal(k, (latent_dim,), jnp.float32))(keys_B)


def _elbo(
    model: LanguageModel, mesh: Mesh, variables: Variables, batch: dict, key: jax.Array
) -> dict[str, jax.Array]:
    eps = _noise(key, batch["index"], model.latent_dim, jnp.int32(0))
    mask = _mask(model, batch)
    inputs = text_vae.encoder_inputs(batch)
    bound = elbo_lib.sentence_bound(model, variables, batch["ids"], eps, mask, mesh, **inputs)
    return {
        "nll": bound.nll_B,
        "kl": bound.kl_B,
        "mu": bound.mu_BxZ,
        "logvar": bound.logvar_BxZ,
        "z": bound.z_BxZ,
    }


def _nll_at(
    model: LanguageModel, mesh: Mesh, variables: Variables, batch: dict[str, jax.Array]
) -> jax.Array:
    mask = _mask(model, batch)
    return elbo_lib.sentence_nll(model, variables, batch["ids"], batch["z"], mask, mesh)


def _importance_weighted(
    model: LanguageModel,
    mesh: Mesh,
    variables: Variables,
    batch: dict,
    key: jax.Array,
    samples: int,
) -> jax.Array:
    """log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k from q(z|x): [B], nats (Burda et al., 2016)."""
    mask = _mask(model, batch)
    if not model.latent_dim:  # one term, the same at every draw: the bound is exact
        empty = jnp.zeros((batch["ids"].shape[0], 0), jnp.float32)
        return -elbo_lib.sentence_nll(model, variables, batch["ids"], empty, mask, mesh)
    mu, logvar = text_vae.encode(model, variables, batch["ids"], **text_vae.encoder_inputs(batch))

    def log_weight(stream: jax.Array) -> jax.Array:
        eps = _noise(key, batch["index"], model.latent_dim, stream)
        z = mu + jnp.exp(0.5 * logvar) * eps
        nll = elbo_lib.sentence_nll(model, variables, batch["ids"], z, mask, mesh)
        return gaussian.log_prior(z) - gaussian.log_density_of_draw(eps, logvar) - nll

    log_weight_KxB = jax.lax.map(log_weight, jnp.arange(1, samples + 1, dtype=jnp.int32))
    return jax.nn.logsumexp(log_weight_KxB, axis=0) - math.log(samples)
