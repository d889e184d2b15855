"""GPT-2 as a decoder: its shape, and its published weights in our parameters' places.

GPT-2 is a case of our Transformer decoder (pre-norm with learned norms, output projections, GELU by
tanh, feed-forward 4d, 1,024 positions), so that only the weights need a file of their own. They are
read from a folder with `model.safetensors` and `config.json`, or fetched by name
(`models.published`).
"""

import dataclasses
import functools
import json
import pathlib
import re
from typing import Any

import numpy as np

from vaetx_jax.errors import UserError
from vaetx_jax.models.layers import NORM_EPSILON
from vaetx_jax.models.presets import ModelSettings
from vaetx_jax.models.published import CONFIG, WEIGHTS, Tensors, Tree, find_folder
from vaetx_jax.models.transformer import LayerShape

POSITIONS = 1024

# Buffers of old files: the causal mask and its constant. The head is tied to the embedding.
_IGNORED = re.compile(r"^h\.\d+\.attn\.(bias|masked_bias)$|^lm_head\.weight$")


@dataclasses.dataclass(frozen=True)
class Gpt2Size:
    """The size of a GPT-2, as its config.json states it.

    Attributes:
      dim: width; layers, heads, ff_dim: of its layers.
      vocab_size: tokens, without the two that are added here; 0: not known.
      positions: the longest sentence.
      norm_epsilon: of the layer norms.
    """

    dim: int
    layers: int
    heads: int
    ff_dim: int
    vocab_size: int
    positions: int
    norm_epsilon: float = NORM_EPSILON

    @classmethod
    def of(cls, settings: ModelSettings) -> "Gpt2Size":
        """The size that a model's settings give a GPT-2 without published weights."""
        layers, heads = settings.decoder_layers or 0, settings.decoder_heads or 1
        return cls(settings.dim, layers, heads, 4 * settings.dim, 0, POSITIONS)

    def shape(self, dropout: float, dtype: Any = None) -> LayerShape:
        """The shape of its layers."""
        return LayerShape(
            dim=self.dim,
            heads=self.heads,
            ff_dim=self.ff_dim,
            dropout=dropout,
            pre_norm=True,
            learned_norm=True,
            output_projection=True,
            exact_gelu=False,
            norm_epsilon=self.norm_epsilon,
            dtype=dtype,
        )


VOCABULARY = ("vocab.json", "merges.txt")  # beside the weights, where the folder has them
find_weights = functools.partial(
    find_folder, key="model.weights", whose="GPT-2", files=(CONFIG, WEIGHTS), more=VOCABULARY
)


def read_size(folder: pathlib.Path) -> Gpt2Size:
    """The size that a folder's `config.json` states.

    Raises:
      UserError: the file is missing, is no JSON, or is not a GPT-2's.
    """
    path = folder / CONFIG
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept.get("activation_function", "gelu_new") != "gelu_new":
            raise UserError(f"{path}: activation_function is not GPT-2's gelu_new")
        if kept.get("scale_attn_by_inverse_layer_idx"):
            raise UserError(f"{path}: scale_attn_by_inverse_layer_idx, which GPT-2 does not have")
        size = Gpt2Size(
            dim=int(kept["n_embd"]),
            layers=int(kept["n_layer"]),
            heads=int(kept["n_head"]),
            ff_dim=int(kept.get("n_inner") or 4 * int(kept["n_embd"])),
            vocab_size=int(kept["vocab_size"]),
            positions=int(kept.get("n_positions") or kept["n_ctx"]),
            norm_epsilon=float(kept.get("layer_norm_epsilon", NORM_EPSILON)),
        )
    except FileNotFoundError:
        raise UserError(
            f"{folder}: no {CONFIG}; GPT-2's weights are a folder with {CONFIG} and {WEIGHTS}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the configuration of a GPT-2 ({error!r})") from error
    whole = (size.dim, size.layers, size.heads, size.ff_dim, size.vocab_size, size.positions)
    if min(whole) < 1 or size.dim % size.heads:
        raise UserError(f"{path}: not the configuration of a GPT-2 ({size})")
    return size


def load_weights(folder: pathlib.Path, params: Tree, *, heads: int) -> Tree:
    """`params` of a model whose decoder is a GPT-2, with the folder's weights in it.

    The two tokens that the vocabulary is extended by keep their fresh rows; the untied output layer
    starts as a copy of the embedding.

    Args:
      params: a model's fresh parameters (host arrays), with `decoder` and `output_layer`.
      heads: the decoder's, which no tensor's shape shows.

    Raises:
      UserError: the file is missing or damaged, or a tensor is missing, left over, or of another
        shape than the model's.
    """
    size = read_size(folder)
    decoder = params["decoder"]
    fresh = np.asarray(decoder["embedding"]["token"]["embedding"])
    _check(folder, "width", size.dim, fresh.shape[1])
    _check(folder, "layers", size.layers, sum(name.startswith("layer_") for name in decoder))
    _check(folder, "positions", size.positions, len(decoder["embedding"]["position"]["embedding"]))
    _check(folder, "heads", size.heads, heads)
    _check(folder, "vocabulary and two tokens", size.vocab_size + 2, len(fresh))
    take = Tensors(folder, whose="GPT-2", prefix="transformer.", ignored=_IGNORED)
    tokens = take("wte.weight", (size.vocab_size, size.dim))
    table = np.concatenate([tokens, fresh[len(tokens) :]])
    new: Tree = dict(decoder)
    new["embedding"] = {
        "token": {"embedding": table},
        "position": {"embedding": take("wpe.weight", (size.positions, size.dim))},
    }
    for i in range(size.layers):
        new[f"layer_{i}"] = {**decoder[f"layer_{i}"], **_layer(take, i, size)}
    new["last_norm"] = _norm(take, "ln_f", size.dim)
    take.nothing_left()
    output = params["output_layer"] | {"kernel": table}
    return {**params, "decoder": new, "output_layer": output}


def _check(folder: pathlib.Path, what: str, there: int, here: int) -> None:
    if there != here:
        raise UserError(
            f"{folder}: its GPT-2 has {what} = {there:,}, the model's decoder has {here:,}; "
            "config.model.dim, decoder_layers, decoder_heads and the tokenizer must be the weights'"
        )


def _layer(take: Tensors, i: int, size: Gpt2Size) -> Tree:
    """Layer i; GPT-2's Conv1D kernels are [in, out] as ours and load untransposed."""
    name, dim = f"h.{i}", size.dim
    kernels = np.split(take(f"{name}.attn.c_attn.weight", (dim, 3 * dim)), 3, axis=1)
    biases = np.split(take(f"{name}.attn.c_attn.bias", (3 * dim,)), 3)
    attention = {
        part: {"kernel": kernel, "bias": bias}
        for part, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True)
    }
    attention["output"] = _linear(take, f"{name}.attn.c_proj", dim, dim)
    return {
        "attention": attention,
        "attention_residual": {"norm": _norm(take, f"{name}.ln_1", dim)},
        "feed_forward": {
            "inner": _linear(take, f"{name}.mlp.c_fc", dim, size.ff_dim),
            "outer": _linear(take, f"{name}.mlp.c_proj", size.ff_dim, dim),
        },
        "feed_forward_residual": {"norm": _norm(take, f"{name}.ln_2", dim)},
    }


def _linear(take: Tensors, name: str, rows: int, columns: int) -> Tree:
    kernel = take(f"{name}.weight", (rows, columns))
    return {"kernel": kernel, "bias": take(f"{name}.bias", (columns,))}


def _norm(take: Tensors, name: str, dim: int) -> Tree:
    return {"scale": take(f"{name}.weight", (dim,)), "bias": take(f"{name}.bias", (dim,))}
