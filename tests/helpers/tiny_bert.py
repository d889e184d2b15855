"""A BERT folder with random weights and a vocabulary in BERT's form, both tiny."""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

from vaetx_jax.models.bert import BertSize

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Letters, which spell any lower-case text, and the most frequent words of `grammar`.
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
PIECES = [*SPECIALS, *".,'", *LETTERS, *("##" + letter for letter in LETTERS), "the"]
DIM, LAYERS, HEADS, FF_DIM, POSITIONS, VOCABULARY = 12, 2, 3, 20, 64, len(PIECES)
CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": DIM,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": FF_DIM,
    "max_position_embeddings": POSITIONS,
    "vocab_size": VOCABULARY,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
}

SIZE = BertSize(DIM, LAYERS, HEADS, FF_DIM, POSITIONS, VOCABULARY, 2, 1e-12, dropout=0.1)


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """All tensors of a tiny BERT, named and shaped as in published files."""
    shapes = {
        "embeddings.word_embeddings.weight": (VOCABULARY, DIM),
        "embeddings.position_embeddings.weight": (POSITIONS, DIM),
        "embeddings.token_type_embeddings.weight": (2, DIM),
        **_norm("embeddings.LayerNorm", DIM),
    }
    for i in range(LAYERS):
        name = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            shapes |= _linear(f"{name}.attention.self.{part}", DIM, DIM)
        shapes |= _linear(f"{name}.attention.output.dense", DIM, DIM)
        shapes |= _norm(f"{name}.attention.output.LayerNorm", DIM)
        shapes |= _linear(f"{name}.intermediate.dense", FF_DIM, DIM)
        shapes |= _linear(f"{name}.output.dense", DIM, FF_DIM)
        shapes |= _norm(f"{name}.output.LayerNorm", DIM)
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, dim: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def write(
    folder: pathlib.Path, weights: dict[str, np.ndarray] | None = None, **changes: object
) -> pathlib.Path:
    """Writes `model.safetensors`, `vocab.txt` and `config.json`, the latter with changes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors() if weights is None else weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return folder
