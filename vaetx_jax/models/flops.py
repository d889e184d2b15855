"""FLOPs of a forward pass: matrix products over real tokens, by the shapes of the weights."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

# Weights used once per sentence and not once per token; their share is too small to count.
_ONCE = frozenset(
    {
        "mu",
        "logvar",
        "project",
        "prefix_key",
        "prefix_value",
        "slot_key",
        "slot_value",
        "output_projection",
    }
)


def forward_flops(params: Any, lengths_N: Sequence[int] | np.ndarray) -> float:
    """FLOPs of a forward pass over sentences of these lengths, padding not counted.

    Each weight of a kernel multiplies and adds once per token. Self-attention's own two products,
    scores and mixture, take 4 * T^2 * d per layer. Embeddings, norms, softmaxes and products done
    once per sentence are left out. A training step takes three times as much.

    Args:
      params: a model's parameters, or their shapes.
      lengths_N: targets of each sentence, its [SEP] counted.
    """
    weights = squares = 0
    if "kernel" not in params["output_layer"]:  # it is tied to the decoder's token embedding
        weights += params["decoder"]["embedding"]["token"]["embedding"].size
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        names = [str(key.key) for key in path]
        memory = "latent_attention" in names and names[-2] in ("key", "value")
        if not names[-1].endswith("kernel") or memory or _ONCE.intersection(names):
            continue
        weights += leaf.size
        if names[-3:] == ["attention", "query", "kernel"]:
            squares += 4 * leaf.shape[1]
    lengths = np.asarray(lengths_N, np.float64)
    return float(2 * weights * lengths.sum() + squares * np.square(lengths).sum())
