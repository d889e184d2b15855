"""Starts computed from the training split.

The output bias at its unigrams, a bag-of-words encoder at its LSA, the mean of a published
encoder's posterior at its whitened features, and the latent's projection to the output at a
regression.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import numpy as np

from vaetx_jax.config.validation import model_settings
from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.models import text_vae
from vaetx_jax.models.bag import STATISTICS
from vaetx_jax.models.channel import SHARPNESS
from vaetx_jax.models.language_model import PARAMS, Variables
from vaetx_jax.models.presets import ModelSettings
from vaetx_jax.run.run import Run
from vaetx_jax.training.statistics import SplitStatistics
from vaetx_jax.training.whitening import whitening

if TYPE_CHECKING:
    import scipy.sparse

STRENGTH = 0.7  # of the regression's start; the decoder says part of it by its other paths
RARE = 10.0  # sentences: a token in fewer of them gets hardly more weight than one in none


@dataclasses.dataclass(frozen=True)
class LatentSemantics:
    """Latent semantic analysis of a split, as a bag-of-words encoder holds it.

    Attributes:
      table_VxZ: each token's vector, its weight multiplied in. Over the split's sentences, each
        coordinate of the sum over a sentence's tokens / length of their weights has variance 1.
      weight_V: each token's weight, 1 / sqrt(sentences that hold it + RARE).
      singular_Z: the singular values, falling.
    """

    table_VxZ: np.ndarray
    weight_V: np.ndarray
    singular_Z: np.ndarray


def from_corpus(run: Run, variables: Variables) -> Variables:
    """Fresh variables with what the model's settings start from the training split.

    Args:
      variables: of the run's model, on its mesh; they give the places of the new ones.
    """
    settings = model_settings(run.config)
    new: dict[tuple[str, ...], np.ndarray] = {}
    if settings.output_start == "unigrams":
        shares_V = unigrams(run.split("train"), run.tokenizer.size, sep=run.tokenizer.sep_id)
        new[PARAMS, "output_layer", "bias"] = np.log(shares_V)
    if settings.encoder_start == "lsa":
        counts = token_counts(run.split("train"), run.tokenizer.size)
        found = latent_semantics(counts, settings.latent_dim, seed=run.config.seed)
        new[PARAMS, "encoder", "embedding", "embedding"] = found.table_VxZ
        new[STATISTICS, "encoder", "weight"] = found.weight_V
        if settings.channel_rate:
            new[PARAMS, "channel", "allocation"] = _allocation(np.square(found.singular_Z))
    if settings.encoder_start == "whiten":
        new |= _whitened(run, settings)
    return replace(variables, new)


def _whitened(run: Run, settings: ModelSettings) -> dict[tuple[str, ...], np.ndarray]:
    """The layer of the posterior's mean that whitens a published encoder's features."""
    features_NxE = run.encoder_features("train")
    if features_NxE is None:  # a later phase of a run whose weights are gone: it has its mean
        return {}
    whitened = whitening(features_NxE, settings.latent_dim)
    new: dict[tuple[str, ...], np.ndarray] = {
        (PARAMS, "mu", "kernel"): whitened.kernel_ExZ,
        (PARAMS, "mu", "bias"): whitened.bias_Z,
    }
    if settings.channel_rate:
        new[PARAMS, "channel", "allocation"] = _allocation(whitened.variance_Z)
    return new


def _allocation(squares_Z: np.ndarray) -> np.ndarray:
    """A channel's parameters by which its shares of the budget are as these variances."""
    shares_Z = np.maximum(squares_Z / squares_Z.mean(), 1e-6)
    return np.asarray(np.log(shares_Z) / SHARPNESS)


def with_latent_output(run: Run, variables: Variables) -> Variables:
    """The variables with the projection of `latent_output` where its start is the regression.

    It depends on the encoder and on the output layer's kernel, so it comes after both are trained
    or loaded.
    """
    statistics = SplitStatistics.of(run)
    if statistics is None or model_settings(run.config).latent_output_start != "regression":
        return variables
    kernel_VxD, _ = text_vae.output(run.model, variables)
    counts = token_counts(run.split("train"), run.tokenizer.size)
    kernel_ZxD = latent_output_kernel(
        counts, statistics.summaries(variables), np.asarray(kernel_VxD, np.float64)
    )
    return replace(variables, {(PARAMS, "output_projection", "kernel"): kernel_ZxD})


def latent_output_kernel(
    counts: scipy.sparse.csr_array, summary_NxZ: np.ndarray, kernel_VxD: np.ndarray
) -> np.ndarray:
    """A projection [Z, D] by which the standardised summary u raises the logits of its tokens.

    To first order, u_j raises log p(v) by cov(share of v in a sentence, u_j) / p(v), shrunk for
    rare tokens by df / (df + RARE). The projection is `STRENGTH` times the regression of these on
    the rows of the output layer, weighted by p(v).

    Args:
      counts: [N, V].
      summary_NxZ: not standardised.
      kernel_VxD: the output layer's.
    """
    import scipy.sparse

    u_NxZ = (summary_NxZ - summary_NxZ.mean(axis=0, dtype=np.float64)) / np.maximum(
        summary_NxZ.std(axis=0, dtype=np.float64), 1e-6
    )
    lengths_N = np.maximum(counts.sum(axis=1), 1.0)
    shares = (scipy.sparse.diags_array(1.0 / lengths_N) @ counts).tocsr()
    p_V = np.asarray(shares.sum(axis=0)) / len(u_NxZ) + 1e-9
    sentences_V = (counts > 0).sum(axis=0)
    raises_VxZ = (shares.T @ u_NxZ) / len(u_NxZ) / p_V[:, None]
    raises_VxZ = raises_VxZ * (sentences_V / (sentences_V + RARE))[:, None]
    rows_VxD = kernel_VxD - (p_V @ kernel_VxD)[None] / p_V.sum()
    gram_DxD = (rows_VxD * p_V[:, None]).T @ rows_VxD
    ridge = 1e-3 * np.trace(gram_DxD) / len(gram_DxD)
    moments_DxZ = (rows_VxD * p_V[:, None]).T @ raises_VxZ
    solved_DxZ = np.linalg.solve(gram_DxD + ridge * np.eye(len(gram_DxD)), moments_DxZ)
    return np.asarray(STRENGTH * solved_DxZ.T)


def replace(variables: Variables, new: dict[tuple[str, ...], np.ndarray]) -> Variables:
    """The variables with other values at some paths, placed as the old ones are."""
    if not new:
        return variables

    def leaf(path: tuple[jax.tree_util.DictKey, ...], old: jax.Array) -> jax.Array:
        value = new.get(tuple(str(key.key) for key in path))
        if value is None:
            return old
        assert value.shape == old.shape, path
        return jax.device_put(np.asarray(value, old.dtype), old.sharding)

    replaced: Variables = jax.tree_util.tree_map_with_path(leaf, variables)
    return replaced


def unigrams(split: TokenizedSplit, vocab_size: int, *, sep: int) -> np.ndarray:
    """The share of each token among a split's targets, [V] float64; half a count is added to each.

    Args:
      sep: the id that ends each sentence and is a target, too.
    """
    counts_V = np.bincount(np.asarray(split.tokens, np.int64), minlength=vocab_size) + 0.5
    counts_V[sep] += len(split)
    return np.asarray(counts_V / counts_V.sum())


def token_counts(split: TokenizedSplit, vocab_size: int) -> scipy.sparse.csr_array:
    """How often each sentence holds each token, [N, V]."""
    import scipy.sparse  # here, as below, because a run that needs none starts sooner

    # Copies: duplicates are summed in place.
    offsets, tokens = np.array(split.offsets, np.int64), np.array(split.tokens, np.int64)
    ones = np.ones(len(tokens), np.float64)
    counts = scipy.sparse.csr_array((ones, tokens, offsets), shape=(len(split), vocab_size))
    counts.sum_duplicates()
    return counts


def latent_semantics(counts: scipy.sparse.csr_array, dim: int, *, seed: int) -> LatentSemantics:
    """A truncated singular value decomposition of weighted sentences (Deerwester et al., 1990).

    A sentence's row holds weight * count of each token, divided by the L2 norm of its tokens'
    weights. The inverse square root of the document frequency keeps more of what labels depend on
    than the logarithm of tf-idf.

    Args:
      counts: [N, V].
      seed: of the randomised decomposition (Halko et al., 2011).

    A corpus of fewer sentences or different tokens than dimensions leaves the last ones at zero.
    """
    import scipy.sparse
    from sklearn.utils.extmath import randomized_svd

    weight_V = 1.0 / np.sqrt((counts > 0).sum(axis=0) + RARE)
    length_N = np.sqrt(np.maximum(counts @ np.square(weight_V), 1e-12))
    rows = scipy.sparse.diags_array(1.0 / length_N) @ counts @ scipy.sparse.diags_array(weight_V)
    found = min(dim, dimensions(counts))
    _, singular_F, axes_FxV = randomized_svd(rows.tocsr(), found, random_state=seed)
    points_NxF = rows @ axes_FxV.T
    deviation_F = np.std(points_NxF, axis=0)
    # Beside the size of the points and not beside the largest deviation: that of equal sentences
    # is rounding, too.
    least = 1e-6 * np.sqrt(np.mean(np.square(points_NxF), axis=0)).max()
    scale_F = np.where(deviation_F > least, 1.0 / (deviation_F + 1e-30), 0.0)
    table_VxF = weight_V[:, None] * axes_FxV.T * scale_F
    missing = dim - found
    table_VxZ = np.pad(table_VxF, ((0, 0), (0, missing)))
    return LatentSemantics(table_VxZ, weight_V, np.pad(singular_F, (0, missing)))


def dimensions(counts: scipy.sparse.csr_array) -> int:
    """The most dimensions that a split's counts [N, V] can have: of sentences or of tokens."""
    return min(counts.shape[0], int(np.count_nonzero(counts.sum(axis=0))))
