"""The negative ELBO of a batch, its terms, and the remedies against posterior collapse.

Summed over the tokens of a sentence, then averaged over the real sentences of the global batch (a
mean over tokens would multiply the KL weight by the length). A remedy changes the loss, never the
reported KL. One that lives in the loss is a field of `Objective` and its use in `negative_elbo`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from vaetx_jax.losses.annealing import ANNEALINGS
from vaetx_jax.losses.bag_of_words import BagWeights, bag_of_words_nll
from vaetx_jax.losses.cross_entropy import token_nll, weighted_nll
from vaetx_jax.losses.mmd import mmd
from vaetx_jax.losses.target_rate import RATE_MODES, hinge, penalty
from vaetx_jax.models import gaussian, text_vae
from vaetx_jax.models.language_model import LanguageModel, Variables, token_mask
from vaetx_jax.models.output_layer import OutputWeights
from vaetx_jax.runtime.mesh import DATA_AXIS
from vaetx_jax.settings import setting


@dataclasses.dataclass(frozen=True)
class Objective:
    """The training objective; its fields are the keys of `config.objective`.

    Attributes:
      annealing: the schedule of the KL weight alpha.
      cycles: M, the periods of a run; the learning rate restarts with them.
      ratio: R, the share of a period in which alpha rises.
      zero: the share of a period in which alpha is 0, before it rises.
      beta: the weight of the KL where alpha is 1 (Higgins et al., 2017); 0: an autoencoder.
      free_bits: nats of each latent dimension's KL that cost nothing (Kingma et al., 2016); 0: off.
      target_rate: nats that the batch's mean KL is kept at or above; 0: off.
      rate_mode: how `target_rate` is kept, a mode of `losses.target_rate`.
      bow: weight of the bag-of-words loss from z (`losses.bag_of_words`).
      mmd: weight of the MMD between latents and prior (`losses.mmd`).
      aggressive: the share of the steps in which only every few steps update the decoder
        (`training.aggressive`).
    """

    annealing: str = setting("cyclic", choices=ANNEALINGS)
    cycles: int = setting(5, least=1)
    ratio: float = setting(0.5, above=0, most=1)
    zero: float = setting(0.0, least=0, below=1)
    beta: float = setting(1.0, least=0)
    free_bits: float = setting(0.0, least=0)
    target_rate: float = setting(0.0, least=0)
    rate_mode: str = setting("hinge", choices=RATE_MODES)
    bow: float = setting(0.0, least=0)
    mmd: float = setting(0.0, least=0)
    aggressive: float = setting(0.0, least=0, most=1)

    def remedies(self) -> list[str]:
        """What it sets besides annealing, cycles and ratio, as 'free_bits 0.5'."""
        schedule = ("annealing", "cycles", "ratio")
        return [
            f"{field.name} {getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if field.name not in schedule and getattr(self, field.name) != field.default
        ]


class Terms(NamedTuple):
    """The terms of a training step; sums over the batch's real sentences."""

    loss: jax.Array  # mean per sentence of nll + alpha * KL term + remedies, nats
    nll: jax.Array  # sum, nats
    kl: jax.Array  # sum, nats, never clipped
    sentences: jax.Array
    tokens: jax.Array


def negative_elbo(
    model: LanguageModel,
    variables: Variables,
    batch: dict[str, jax.Array],
    key: jax.Array,
    *,
    objective: Objective,
    kl_weight: jax.Array,
    mesh: Mesh | None,
    latent: bool = True,
    bag: BagWeights | None = None,
    multiplier: jax.Array | None = None,
) -> tuple[jax.Array, tuple[Terms, Variables]]:
    """The loss of a batch (Eq. 8), its terms, and the collections that the pass has updated.

    Args:
      variables: the loss is differentiable in their `params`.
      batch: `ids` int32 [B, S] and `weight` float32 [B], 1 for a sentence and 0 for filler; perhaps
        `features` float32 [B, E], the encoder's summaries, or `encoder_ids` int32 [B, R], the
        sentences in its own tokens.
      key: gives the streams `dropout` and `latent` of this step.
      kl_weight: alpha(t); the annealing's own, or another replica's.
      mesh: the mesh the batch is split over; None: the whole batch is on each device.
      latent: false: z is 0 and so is its KL, as of a language model.
      bag, multiplier: what the objective learns beside the model (`training.auxiliary`).
    """
    ids_BxS, weight_B = batch["ids"], batch["weight"]
    dropout_key, latent_key = jax.random.split(key)
    rngs = {"dropout": dropout_key, "latent": latent_key}
    result, updated = text_vae.forward(
        model,
        variables,
        ids_BxS,
        weight_B,
        rngs,
        **text_vae.encoder_inputs(batch),
        latent=latent,
    )
    sentences = jnp.sum(weight_B)
    share_B = weight_B / jnp.maximum(sentences, 1.0)
    mask_BxT = token_mask(ids_BxS, model.pad_id) & (weight_B > 0)[:, None]
    reconstruction, nll_BxT = reconstruction_loss(
        result.h_BxTxD, result.output, ids_BxS[:, 1:], share_B, mask_BxT, mesh
    )
    kl_BxZ = gaussian.kl_to_prior(result.mu_BxZ, result.logvar_BxZ)
    loss = reconstruction + kl_weight * kl_term(kl_BxZ, share_B, objective)
    if multiplier is not None:
        mean = jnp.sum(kl_BxZ * share_B[:, None])
        loss += penalty(mean, objective.target_rate, multiplier)
    if bag is not None:
        bow_B = bag_of_words_nll(result.z_BxZ, bag, ids_BxS[:, 1:], mask_BxT)
        loss += objective.bow * jnp.sum(bow_B * share_B)
    if objective.mmd and latent and model.latent_dim:
        prior_key = jax.random.fold_in(latent_key, 1)
        prior_BxZ = jax.random.normal(prior_key, result.z_BxZ.shape, jnp.float32)
        loss += objective.mmd * mmd(result.z_BxZ, prior_BxZ, weight_B)
    terms = Terms(
        loss=loss,
        nll=jnp.sum(nll_BxT),
        kl=jnp.sum(kl_BxZ * weight_B[:, None]),
        sentences=sentences,
        tokens=jnp.sum(mask_BxT, dtype=jnp.float32),
    )
    return loss, (terms, updated)


def kl_term(kl_BxZ: jax.Array, share_B: jax.Array, objective: Objective) -> jax.Array:
    """The KL part of the loss: the batch's mean KL, and what of it costs nothing.

    With free bits (Kingma et al., 2016): sum over dimensions of max(free_bits, batch-mean KL),
    over the global batch. Below the threshold a dimension has no gradient. With a target rate and
    its hinge, the same over the sum.

    Args:
      kl_BxZ: KL of each sentence and dimension, nats.
      share_B: each sentence's weight in the mean; they sum to 1.
    """
    mean_Z = jnp.sum(kl_BxZ * share_B[:, None], axis=0)
    if objective.free_bits > 0:
        mean_Z = jnp.maximum(mean_Z, objective.free_bits)
    total = jnp.sum(mean_Z)
    if objective.target_rate > 0 and objective.rate_mode == "hinge" and len(mean_Z):
        total = hinge(total, objective.target_rate)
    return total


def reconstruction_loss(
    h_BxTxD: jax.Array,
    output: OutputWeights,
    target_BxT: jax.Array,
    share_B: jax.Array,
    mask_BxT: jax.Array,
    mesh: Mesh | None,
) -> tuple[jax.Array, jax.Array]:
    """(sum_b share_b * nll_b, differentiable; nll [B, T] without gradient), over the mesh."""

    def shared(output: OutputWeights, rows: _Rows) -> tuple[jax.Array, jax.Array]:
        h_BxTxD, target_BxT, share_B, mask_BxT = rows
        weight_BxT = jnp.broadcast_to(share_B[:, None], mask_BxT.shape)
        total, nll_N = weighted_nll(
            h_BxTxD.reshape(-1, h_BxTxD.shape[-1]),
            *output,
            target_BxT.reshape(-1),
            weight_BxT.reshape(-1),
            mask_BxT.reshape(-1),
        )
        return total, nll_N.reshape(mask_BxT.shape)

    def summed(output: OutputWeights, rows: _Rows) -> tuple[jax.Array, jax.Array]:
        total, nll_BxT = shared(output, rows)
        return jax.lax.psum(total, DATA_AXIS), nll_BxT

    rows = (h_BxTxD, target_BxT, share_B, mask_BxT)
    if mesh is None:
        return shared(output, rows)
    total, nll_BxT = _over_devices(summed, mesh, (PartitionSpec(), PartitionSpec(DATA_AXIS)))(
        output, rows
    )
    return total, nll_BxT


_Rows = tuple[jax.Array, ...]  # arrays whose first axis is the batch's


def _over_devices(
    fn: Callable[[OutputWeights, _Rows], Any], mesh: Mesh, out_specs: Any
) -> Callable[[OutputWeights, _Rows], Any]:
    """`fn` on every device with the rows of its own sentences, so that no token is moved."""

    def local(output: OutputWeights, rows: _Rows) -> Any:
        # Each device uses the whole output layer; its gradient is then the devices' sum.
        varying = [jax.lax.pcast(x, DATA_AXIS, to="varying") for x in output]
        return fn(OutputWeights(*varying), rows)

    in_specs = (PartitionSpec(), PartitionSpec(DATA_AXIS))
    return jax.shard_map(local, mesh=mesh, in_specs=in_specs, out_specs=out_specs)


class Bound(NamedTuple):
    """The negative ELBO of each sentence in its two parts, nats, and its posterior and draw."""

    nll_B: jax.Array
    kl_B: jax.Array
    mu_BxZ: jax.Array
    logvar_BxZ: jax.Array
    z_BxZ: jax.Array


def sentence_bound(
    model: LanguageModel,
    variables: Variables,
    ids_BxS: jax.Array,
    eps_BxZ: jax.Array,
    mask_BxT: jax.Array,
    mesh: Mesh,
    **inputs: jax.Array,
) -> Bound:
    """-log p(x|z) and KL(q(z|x) || p(z)) of each sentence, z = mu + sigma * eps: no dropout.

    Args:
      inputs: of the encoder, as `text_vae.encoder_inputs` gives them.
    """
    mu, logvar = text_vae.encode(model, variables, ids_BxS, **inputs)
    z = mu + jnp.exp(0.5 * logvar) * eps_BxZ
    nll = sentence_nll(model, variables, ids_BxS, z, mask_BxT, mesh)
    return Bound(nll, jnp.sum(gaussian.kl_to_prior(mu, logvar), axis=-1), mu, logvar, z)


def sentence_nll(
    model: LanguageModel,
    variables: Variables,
    ids_BxS: jax.Array,
    z_BxZ: jax.Array,
    mask_BxT: jax.Array,
    mesh: Mesh,
) -> jax.Array:
    """-log p(x|z) of each sentence in nats, [B]: no dropout, no gradient kept."""

    def summed(output: OutputWeights, rows: _Rows) -> jax.Array:
        h_BxTxD, target_BxT, mask_BxT = rows
        nll_N = token_nll(
            h_BxTxD.reshape(-1, h_BxTxD.shape[-1]),
            *output,
            target_BxT.reshape(-1),
            mask_BxT.reshape(-1),
        )
        return jnp.sum(nll_N.reshape(mask_BxT.shape), axis=1)

    rows = (text_vae.decode(model, variables, ids_BxS, z_BxZ), ids_BxS[:, 1:], mask_BxT)
    output = text_vae.output(model, variables)
    nll_B: jax.Array = _over_devices(summed, mesh, PartitionSpec(DATA_AXIS))(output, rows)
    return nll_B
