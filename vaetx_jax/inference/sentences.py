"""Sentences to posteriors, and latents to sentences: a model's two loops over batches."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vaetx_jax.data.bucketing import device_arrays
from vaetx_jax.errors import UserError
from vaetx_jax.inference.arguments import check_latents
from vaetx_jax.inference.batching import BATCH, batches_of, batches_of_rows, largest_batch
from vaetx_jax.inference.decoding import Decoding, decode
from vaetx_jax.inference.logits import SpecialIds
from vaetx_jax.inference.token_by_token import pool_size
from vaetx_jax.models import text_vae
from vaetx_jax.models.language_model import PARAMS, Variables
from vaetx_jax.run.run import Run
from vaetx_jax.runtime.console import Progress

_encode = jax.jit(text_vae.encode, static_argnums=0)


def encode_sentences(
    run: Run, variables: Variables, sentences: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of q(z|x), float32 [N, Z] each, in the order given."""
    mean_NxZ = np.zeros((len(sentences), run.model.latent_dim), np.float32)
    std_NxZ = np.zeros_like(mean_NxZ)

    def store(numbers: np.ndarray, mu: jax.Array, logvar: jax.Array) -> None:
        mean_NxZ[numbers] = np.asarray(mu)[: len(numbers)]
        std_NxZ[numbers] = np.exp(0.5 * np.asarray(logvar)[: len(numbers)])

    pending: list[Any] = []  # stored one batch later, so that the devices are never idle
    max_len = run.config.data.max_len
    for rows in batches_of(sentences, run.encoder_tokenizer, max_len, done="encoded"):
        pending.append((rows.numbers, *_encode(run.model, variables, rows.ids_BxS)))
        if len(pending) > 1:
            store(*pending.pop(0))
    for batch in pending:
        store(*batch)
    return mean_NxZ, std_NxZ


def encode_features(run: Run, variables: Variables, features: Any) -> tuple[np.ndarray, np.ndarray]:
    """As `encode_sentences`, from the encoder's features [N, E] or given vectors.

    Raises:
      UserError: they have another width than the encoder's, or one is not finite.
    """
    width = variables[PARAMS]["mu"]["kernel"].shape[0] if "mu" in variables[PARAMS] else None
    width = run.vectors.dim if run.vectors else width
    if width is None:
        raise UserError(f"the encoder {run.config.model.encoder} takes no vectors")
    features_NxE = check_latents(features, width, "vectors")
    ids_1x2 = np.asarray([[run.tokenizer.cls_id, run.tokenizer.sep_id]], np.int32)
    mean_NxZ = np.zeros((len(features_NxE), run.model.latent_dim), np.float32)
    std_NxZ = np.zeros_like(mean_NxZ)
    most = largest_batch(len(features_NxE))
    for at_B, size in batches_of_rows(len(features_NxE), most=most):
        ids_Bx2 = np.repeat(ids_1x2, size, axis=0)  # they are not read
        mu, logvar = _encode(run.model, variables, ids_Bx2, features_NxE[np.resize(at_B, size)])
        mean_NxZ[at_B] = np.asarray(mu)[: len(at_B)]
        std_NxZ[at_B] = np.exp(0.5 * np.asarray(logvar))[: len(at_B)]
    return mean_NxZ, std_NxZ


def encode_split(run: Run, variables: Variables, name: str) -> tuple[np.ndarray, np.ndarray]:
    """As `encode_sentences`, of a split in the corpus's order; a frozen encoder's features are read
    from the cache, so that nothing is encoded again.
    """
    split = run.split(name)
    batches = run.eval_batches(split)
    mean_NxZ = np.zeros((len(split), run.model.latent_dim), np.float32)
    std_NxZ = np.zeros_like(mean_NxZ)
    for i in range(len(batches)):
        batch = batches[i]
        arrays = device_arrays(batch)
        inputs = text_vae.encoder_inputs(arrays)
        mu, logvar = _encode(run.model, variables, arrays["ids"], **inputs)
        real = batch["index"] >= 0
        mean_NxZ[batch["index"][real]] = np.asarray(mu)[real]
        std_NxZ[batch["index"][real]] = np.exp(0.5 * np.asarray(logvar))[real]
    return mean_NxZ, std_NxZ


def decode_latents(
    run: Run,
    variables: Variables,
    z_NxZ: np.ndarray,
    *,
    seed: int,
    how: Decoding,
    first_row: int = 0,
    batch: int = BATCH,
) -> list[str]:
    """A sentence for each latent; shows its progress where they are not all decoded together.

    Args:
      first_row: the number of the first row; what is drawn depends on a row's number.
      batch: rows of a batch, at most; fewer in a beam search, by as much as it is wide.
    """
    tokenizer, max_len = run.tokenizer, run.config.data.max_len
    special = SpecialIds(tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id)
    sentences: list[str] = []
    progress = Progress(len(z_NxZ))
    together = pool_size(run.model, variables, max_len - 1, batch)
    for start in range(0, len(z_NxZ), together):
        z_PxZ = z_NxZ[start : start + together]
        ids_PxL = decode(
            run.model,
            variables,
            z_PxZ,
            jax.random.key(seed),
            special=special,
            max_len=max_len,
            how=how,
            numbers_N=np.arange(len(z_PxZ), dtype=np.int32) + np.int32(first_row + start),
            batch=batch,
        )
        sentences += [tokenizer.decode(row_L) for row_L in ids_PxL.tolist()]
        if len(z_NxZ) > together:
            progress.tick(len(sentences), "decoded")
    progress.clear()
    return sentences
