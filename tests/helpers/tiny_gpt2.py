"""A GPT-2 folder with random weights, and a vocabulary in GPT-2's form, both tiny."""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings
from vaetx_jax.models.build import build_model
from vaetx_jax.models.language_model import LanguageModel

MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("<", "|")]
DIM, LAYERS, HEADS, POSITIONS = 12, 2, 3, 1024
VOCABULARY = 256 + len(MERGES) + 1


def byte_symbols() -> list[str]:
    """GPT-2's 256 printable stand-ins for bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in shown] + [chr(256 + i) for i in range(256 - len(shown))]


def write_vocabulary(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes `encoder.json` and `vocab.bpe`."""
    pieces = [*byte_symbols(), *("".join(pair) for pair in MERGES), "<|endoftext|>"]
    encoder, merges = folder / "encoder.json", folder / "vocab.bpe"
    encoder.write_text(json.dumps({p: i for i, p in enumerate(pieces)}), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    merges.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return encoder, merges


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """All tensors of a tiny GPT-2, named and shaped as in published files."""
    shapes = {"wte.weight": (VOCABULARY, DIM), "wpe.weight": (POSITIONS, DIM)}
    for i in range(LAYERS):
        shapes |= {
            f"h.{i}.ln_1.weight": (DIM,),
            f"h.{i}.ln_1.bias": (DIM,),
            f"h.{i}.attn.c_attn.weight": (DIM, 3 * DIM),
            f"h.{i}.attn.c_attn.bias": (3 * DIM,),
            f"h.{i}.attn.c_proj.weight": (DIM, DIM),
            f"h.{i}.attn.c_proj.bias": (DIM,),
            f"h.{i}.ln_2.weight": (DIM,),
            f"h.{i}.ln_2.bias": (DIM,),
            f"h.{i}.mlp.c_fc.weight": (DIM, 4 * DIM),
            f"h.{i}.mlp.c_fc.bias": (4 * DIM,),
            f"h.{i}.mlp.c_proj.weight": (4 * DIM, DIM),
            f"h.{i}.mlp.c_proj.bias": (DIM,),
        }
    shapes |= {"ln_f.weight": (DIM,), "ln_f.bias": (DIM,)}
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def write(
    folder: pathlib.Path, weights: dict[str, np.ndarray] | None = None, **changes: object
) -> pathlib.Path:
    """Writes `model.safetensors` and `config.json`, the latter with changes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors() if weights is None else weights, folder / "model.safetensors")
    config = {
        "activation_function": "gelu_new",
        "n_embd": DIM,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_positions": POSITIONS,
        "vocab_size": VOCABULARY,
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def model(vocab_size: int = VOCABULARY + 2, **changes: object) -> LanguageModel:
    """The VAE-GPT2 that the folder's weights fit into."""
    config = default_config("vae_gpt2")
    config.model.update({"dim": DIM, "latent_dim": 4, "heads": 2, "ff_dim": 10, "dropout": 0.0})
    config.model.update({"decoder_layers": LAYERS, "decoder_heads": HEADS} | changes)
    return build_model(model_settings(config), vocab_size=vocab_size, pad_id=vocab_size - 2)
