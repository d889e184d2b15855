"""BERT as an encoder: its shape, its layers, and its published weights in our parameters' places.

A layer of BERT is a case of our Transformer layer (post-norm with learned norms, output
projections, exact GELU). Its embeddings have a layer norm of their own. All tokens are of type 0,
whose embedding is added to the positions' when the weights are loaded.

Its sizes are those of the folder's `config.json`. Weights are read from a folder with
`config.json`, `model.safetensors` and `vocab.txt`, or fetched by name (`models.published`).
"""

import dataclasses
import functools
import json
import pathlib
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vaetx_jax.errors import UserError
from vaetx_jax.models.dropout import Dropout
from vaetx_jax.models.layers import embedding, layer_norm
from vaetx_jax.models.published import CONFIG, WEIGHTS, Tensors, Tree, find_folder
from vaetx_jax.models.transformer import LayerShape, TransformerLayer

VOCABULARY = "vocab.txt"
FILES = (CONFIG, WEIGHTS, VOCABULARY)
TOKENIZER_CONFIG = "tokenizer_config.json"  # says whether it reads cased text; a folder may lack it
POOLINGS = ("mean", "cls")
# A table may be padded behind the vocabulary, by fewer rows than that and to a multiple of so many.
SPARE_ROWS, ROUND_ROWS = 128, 8

# Heads of pretraining and of classifiers, and a buffer of old files.
_IGNORED = re.compile(r"^(pooler|cls|classifier|qa_outputs)\.|^embeddings\.position_ids$")
_RENAMED = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# What other values of these would change and this encoder does not have.
_FIXED = {
    "model_type": ("bert",),
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
}


@dataclasses.dataclass(frozen=True)
class BertSize:
    """The size of a BERT, as its config.json states it.

    Attributes:
      dim: width; layers, heads, ff_dim: of its layers.
      positions: the longest sentence, [CLS] and [SEP] counted.
      vocab_size: rows of the token embedding.
      token_types: rows of the type embedding, of which the first is used.
      norm_epsilon: of the layer norms.
      dropout: of hidden values, where the encoder is trained.
    """

    dim: int
    layers: int
    heads: int
    ff_dim: int
    positions: int
    vocab_size: int
    token_types: int
    norm_epsilon: float
    dropout: float

    def shape(self, dtype: Any = None) -> LayerShape:
        """The shape of its layers."""
        return LayerShape(
            dim=self.dim,
            heads=self.heads,
            ff_dim=self.ff_dim,
            dropout=self.dropout,
            learned_norm=True,
            output_projection=True,
            norm_epsilon=self.norm_epsilon,
            dtype=dtype,
        )


class BertEncoder(nn.Module):
    """A sentence, its [SEP] included, to its summary [B, dim]: the mean of its outputs or [CLS]'s.

    Attributes:
      size: of the layers and tables.
      pooling: one of `POOLINGS`.
      frozen: it is not trained, and so has no dropout.
      dtype: what the layers compute in; None: float32.
    """

    size: BertSize
    pooling: str = "mean"
    frozen: bool = False
    dtype: Any = None

    def setup(self) -> None:
        size, shape = self.size, self.size.shape(self.dtype)
        self.token = embedding(size.vocab_size, size.dim)
        self.position = embedding(size.positions, size.dim)
        self.norm = layer_norm(learned=True, epsilon=size.norm_epsilon)
        self.drop = Dropout(size.dropout)
        self.layer = [TransformerLayer(shape) for _ in range(size.layers)]

    def hidden(
        self, ids_BxT: jax.Array, mask_BxT: jax.Array, *, deterministic: bool = True
    ) -> jax.Array:
        """The last layer's outputs, [B, T, dim]; those where the mask is false mean nothing."""
        quiet = deterministic or self.frozen
        positions_T = jnp.arange(ids_BxT.shape[1], dtype=jnp.int32)
        x = self.norm(self.token(ids_BxT) + self.position(positions_T)[None])
        x = self.drop(x if self.dtype is None else x.astype(self.dtype), deterministic=quiet)
        for layer in self.layer:
            x = layer(x, mask_BxT[:, None, :], None, deterministic=quiet)
        return x

    def __call__(
        self, ids_BxT: jax.Array, mask_BxT: jax.Array, *, deterministic: bool
    ) -> jax.Array:
        """ids `[CLS] x1 .. xn [SEP]` and mask [B, T] to [B, dim], float32."""
        x = self.hidden(ids_BxT, mask_BxT, deterministic=deterministic)
        if self.pooling == "cls":
            return x[:, 0].astype(jnp.float32)
        count_Bx1 = jnp.sum(mask_BxT, axis=1, dtype=jnp.float32)[:, None]
        seen_BxTxD = jnp.where(mask_BxT[..., None], x, 0)
        return jnp.sum(seen_BxTxD, axis=1, dtype=jnp.float32) / jnp.maximum(count_Bx1, 1)


find_weights = functools.partial(
    find_folder, key="model.encoder_weights", whose="a BERT", files=FILES, more=(TOKENIZER_CONFIG,)
)


def read_size(folder: pathlib.Path) -> BertSize:
    """The size that a folder's `config.json` states.

    Raises:
      UserError: the file is missing, is no JSON, or is not a BERT's.
    """
    path = folder / CONFIG
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        for name, fits in _FIXED.items():
            if kept.get(name, fits[0]) not in fits:
                raise UserError(
                    f"{path}: {name} is {kept[name]!r}, and only {fits[0]!r} can be read: take "
                    "the weights of a BERT (BERT, MiniLM, BGE and E5 models, for example)"
                )
        size = BertSize(
            dim=int(kept["hidden_size"]),
            layers=int(kept["num_hidden_layers"]),
            heads=int(kept["num_attention_heads"]),
            ff_dim=int(kept["intermediate_size"]),
            positions=int(kept["max_position_embeddings"]),
            vocab_size=int(kept["vocab_size"]),
            token_types=int(kept.get("type_vocab_size", 2)),
            norm_epsilon=float(kept.get("layer_norm_eps", 1e-12)),
            dropout=float(kept.get("hidden_dropout_prob", 0.1)),
        )
    except FileNotFoundError:
        raise UserError(
            f"{folder}: no {CONFIG}; a BERT's weights are a folder with {', '.join(FILES)}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the configuration of a BERT ({error!r})") from error
    whole = (size.dim, size.layers, size.heads, size.ff_dim, size.positions, size.token_types)
    if min(whole) < 1 or size.dim % size.heads or not 0 <= size.dropout < 1:
        raise UserError(f"{path}: not the configuration of a BERT ({size})")
    return size


def check_fit(folder: pathlib.Path, size: BertSize, *, vocab_size: int, max_len: int) -> None:
    """Checks that a BERT can read a tokenizer's ids and sentences of `max_len` of them.

    Args:
      vocab_size: tokens of the folder's vocabulary.

    Raises:
      UserError: it cannot.
    """
    spare = size.vocab_size - vocab_size
    if spare and (size.vocab_size % ROUND_ROWS or not 0 < spare < SPARE_ROWS):
        raise UserError(
            f"{folder / VOCABULARY}: {vocab_size:,} tokens, and {CONFIG} beside it says "
            f"{size.vocab_size:,}; the two files do not belong together"
        )
    if max_len > size.positions:
        raise UserError(
            f"config.data.max_len = {max_len}: the encoder in {folder} has {size.positions:,} "
            "positions, so that is the most"
        )


def is_cased(folder: pathlib.Path) -> bool:
    """Whether a BERT reads cased text; a folder without `tokenizer_config.json` is of one that does
    not.
    """
    try:
        kept = json.loads((folder / TOKENIZER_CONFIG).read_text(encoding="utf-8"))
        return not bool(kept.get("do_lower_case", True))
    except (OSError, ValueError, AttributeError):
        return False


def load_weights(folder: pathlib.Path, size: BertSize) -> Tree:
    """The parameters of a `BertEncoder` of this size from a folder's `model.safetensors`.

    Raises:
      UserError: the file is missing or damaged, or a tensor is missing, left over, or of another
        shape than `size` makes it.
    """
    take = Tensors(folder, whose="BERT", prefix="bert.", ignored=_IGNORED, renamed=_RENAMED)
    table = "embeddings.{}_embeddings.weight"
    tokens = take(table.format("word"), (size.vocab_size, size.dim))
    positions = take(table.format("position"), (size.positions, size.dim))
    types = take(table.format("token_type"), (size.token_types, size.dim))
    params: Tree = {
        "token": {"embedding": tokens},
        "position": {"embedding": positions + types[:1]},
        "norm": _norm(take, "embeddings.LayerNorm", size.dim),
    }
    for i in range(size.layers):
        params[f"layer_{i}"] = _layer(take, f"encoder.layer.{i}", size)
    take.nothing_left()
    return params


def _layer(take: Tensors, name: str, size: BertSize) -> Tree:
    """A layer; PyTorch's kernels are [out, in], ours [in, out]."""
    dim, ff_dim = size.dim, size.ff_dim
    attention = {
        part: _linear(take, f"{name}.attention.self.{part}", dim, dim)
        for part in ("query", "key", "value")
    }
    attention["output"] = _linear(take, f"{name}.attention.output.dense", dim, dim)
    return {
        "attention": attention,
        "attention_residual": {"norm": _norm(take, f"{name}.attention.output.LayerNorm", dim)},
        "feed_forward": {
            "inner": _linear(take, f"{name}.intermediate.dense", dim, ff_dim),
            "outer": _linear(take, f"{name}.output.dense", ff_dim, dim),
        },
        "feed_forward_residual": {"norm": _norm(take, f"{name}.output.LayerNorm", dim)},
    }


def _linear(take: Tensors, name: str, rows: int, columns: int) -> Tree:
    kernel = np.ascontiguousarray(take(f"{name}.weight", (columns, rows)).T)
    return {"kernel": kernel, "bias": take(f"{name}.bias", (columns,))}


def _norm(take: Tensors, name: str, dim: int) -> Tree:
    return {"scale": take(f"{name}.weight", (dim,)), "bias": take(f"{name}.bias", (dim,))}
