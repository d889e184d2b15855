"""The negative ELBO of a batch, its terms, and the remedies against posterior collapse.

Per sentence and summed over its pieces, then averaged over the real sentences of the global batch
(a mean over pieces would multiply the KL weight by the length). A remedy changes the loss, never
the reported KL.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from vaetx_jax.losses.cross_entropy import token_nll, weighted_nll
from vaetx_jax.models import gaussian
from vaetx_jax.models.text_vae import ForwardOutput, LanguageModel, OutputWeights, token_mask
from vaetx_jax.runtime.mesh import DATA_AXIS

Params = Any  # a model's parameters, a tree of arrays


class Terms(NamedTuple):
    """What a training step optimises and reports; sums over the batch's real sentences."""

    loss: jax.Array  # the mean a sentence of nll + alpha * KL term, nats
    nll: jax.Array  # sum, nats
    kl: jax.Array  # sum, nats, never clipped
    sentences: jax.Array
    tokens: jax.Array


def negative_elbo(
    model: LanguageModel,
    params: Params,
    batch: dict[str, jax.Array],
    key: jax.Array,
    *,
    kl_weight: jax.Array,
    free_bits: float,
    mesh: Mesh | None,
) -> tuple[jax.Array, Terms]:
    """The loss of a batch (Eq. 8), differentiable in `params`, and its terms.

    Args:
      batch: `ids` int32 [B, S] and `weight` float32 [B], 1 for a sentence and 0 for filler.
      key: gives the streams `dropout` and `latent` of this step.
      kl_weight: alpha(t).
      free_bits: nats a latent dimension that cost nothing.
      mesh: what the batch is split over; None: it is all here.
    """
    ids_BxS, weight_B = batch["ids"], batch["weight"]
    dropout_key, latent_key = jax.random.split(key)
    result: ForwardOutput = _apply(
        model,
        params,
        ids_BxS,
        deterministic=False,
        rngs={"dropout": dropout_key, "latent": latent_key},
    )
    sentences = jnp.sum(weight_B)
    share_B = weight_B / jnp.maximum(sentences, 1.0)
    mask_BxT = token_mask(ids_BxS, model.pad_id) & (weight_B > 0)[:, None]
    reconstruction, nll_BxT = reconstruction_loss(
        result.h_BxTxD, result.output, ids_BxS[:, 1:], share_B, mask_BxT, mesh
    )
    kl_BxZ = gaussian.kl_to_prior(result.mu_BxZ, result.logvar_BxZ)
    loss = reconstruction + kl_weight * kl_term(kl_BxZ, share_B, free_bits=free_bits)
    return loss, Terms(
        loss=loss,
        nll=jnp.sum(nll_BxT),
        kl=jnp.sum(kl_BxZ * weight_B[:, None]),
        sentences=sentences,
        tokens=jnp.sum(mask_BxT, dtype=jnp.float32),
    )


def kl_term(kl_BxZ: jax.Array, share_B: jax.Array, *, free_bits: float) -> jax.Array:
    """The KL part of the loss: the batch's mean KL, with `free_bits` nats of each dimension free.

    With free bits (Kingma et al., 2016): sum over dimensions of max(free_bits, batch-mean KL),
    over the global batch. Below the threshold a dimension has no gradient.

    Args:
      kl_BxZ: KL of each sentence and dimension, nats.
      share_B: each sentence's weight in the mean; they sum to 1.
    """
    mean_Z = jnp.sum(kl_BxZ * share_B[:, None], axis=0)
    if free_bits > 0:
        mean_Z = jnp.maximum(mean_Z, free_bits)
    return jnp.sum(mean_Z)


def reconstruction_loss(
    h_BxTxD: jax.Array,
    output: OutputWeights,
    target_BxT: jax.Array,
    share_B: jax.Array,
    mask_BxT: jax.Array,
    mesh: Mesh | None,
) -> tuple[jax.Array, jax.Array]:
    """(sum_b share_b * nll_b, differentiable; nll [B, T] without gradient), over the mesh.

    Each device takes the tokens of its own sentences (`shard_map`), so that none are moved.
    """

    def here(h, kernel, bias, target, share, mask):  # type: ignore[no-untyped-def]
        weight = jnp.broadcast_to(share[:, None], mask.shape)
        total, nll_N = weighted_nll(
            h.reshape(-1, h.shape[-1]),
            kernel,
            bias,
            target.reshape(-1),
            weight.reshape(-1),
            mask.reshape(-1),
        )
        return total, nll_N.reshape(mask.shape)

    if mesh is None:
        return here(h_BxTxD, *output, target_BxT, share_B, mask_BxT)

    def local(h, kernel, bias, *rest):  # type: ignore[no-untyped-def]
        # Each device uses the whole output layer; its gradient is then the devices' sum.
        kernel, bias = (jax.lax.pcast(x, DATA_AXIS, to="varying") for x in (kernel, bias))
        total, nll_BxT = here(h, kernel, bias, *rest)
        return jax.lax.psum(total, DATA_AXIS), nll_BxT

    split, whole = PartitionSpec(DATA_AXIS), PartitionSpec()
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(split, whole, whole, split, split, split),
        out_specs=(whole, split),
    )(h_BxTxD, *output, target_BxT, share_B, mask_BxT)


def _apply(model: LanguageModel, params: Params, *args: Any, **kwargs: Any) -> Any:
    """A model's method (or a training pass) with parameters; linen cannot say what it returns."""
    return model.apply({"params": params}, *args, **kwargs)


def posterior(
    model: LanguageModel, params: Params, ids_BxS: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """mu and log-variance [B, Z] of q(z|x), without dropout."""
    mu, logvar = _apply(model, params, ids_BxS, method="encode")
    return mu, logvar


class Bound(NamedTuple):
    """The negative ELBO of each sentence in its two parts, nats, and what it was made with."""

    nll_B: jax.Array
    kl_B: jax.Array
    mu_BxZ: jax.Array
    logvar_BxZ: jax.Array
    z_BxZ: jax.Array


def sentence_bound(
    model: LanguageModel,
    params: Params,
    ids_BxS: jax.Array,
    eps_BxZ: jax.Array,
    mask_BxT: jax.Array,
    mesh: Mesh,
) -> Bound:
    """-log p(x|z) and KL(q(z|x) || p(z)) of each sentence, z = mu + sigma * eps: no dropout."""
    mu, logvar = posterior(model, params, ids_BxS)
    z = mu + jnp.exp(0.5 * logvar) * eps_BxZ
    nll = sentence_nll(model, params, ids_BxS, z, mask_BxT, mesh)
    return Bound(nll, jnp.sum(gaussian.kl_to_prior(mu, logvar), axis=-1), mu, logvar, z)


def sentence_nll(
    model: LanguageModel,
    params: Params,
    ids_BxS: jax.Array,
    z_BxZ: jax.Array,
    mask_BxT: jax.Array,
    mesh: Mesh,
) -> jax.Array:
    """-log p(x|z) of each sentence in nats, [B]: no dropout, no gradient kept."""
    h_BxTxD = _apply(model, params, ids_BxS, z_BxZ, method="decode")
    output: OutputWeights = _apply(model, params, method="output")

    def local(h, kernel, bias, target, mask):  # type: ignore[no-untyped-def]
        kernel, bias = (jax.lax.pcast(x, DATA_AXIS, to="varying") for x in (kernel, bias))
        nll_N = token_nll(
            h.reshape(-1, h.shape[-1]), kernel, bias, target.reshape(-1), mask.reshape(-1)
        )
        return jnp.sum(nll_N.reshape(mask.shape), axis=1)

    split, whole = PartitionSpec(DATA_AXIS), PartitionSpec()
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(split, whole, whole, split, split),
        out_specs=split,
    )(h_BxTxD, *output, ids_BxS[:, 1:], mask_BxT)
