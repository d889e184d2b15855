"""One side of `generate`, in a process of its own.

    python -m benchmarks.generate_sides FOLDER SIDE

It prints one line of JSON: speeds, and what it computed, for the comparison.
"""

import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PIECES, LATENTS, BATCH, ROUNDS = 30, 256, 64, 3
Encode = Callable[[list[str]], np.ndarray]
Decode = Callable[[np.ndarray], list[str]]


def ours(folder: pathlib.Path) -> tuple[Encode, Decode]:
    """JAX, through the public interface."""
    import dataclasses

    from vaetx_jax.inference.text_model import load

    model = load(folder / "model")
    short = model.run.config.copy_and_resolve_references()
    short.data.max_len = PIECES + 1
    brief = dataclasses.replace(model, parts=dataclasses.replace(model.run, config=short))
    return lambda texts: model.encode(texts)[0], brief.decode


def pytorch(folder: pathlib.Path) -> tuple[Encode, Decode]:
    """PyTorch: batches sorted by length; greedy decoding with keys and values kept."""
    import os

    import torch

    from benchmarks.sides import unflatten
    from benchmarks.torch_models import TextModel
    from vaetx_jax.config import stored, validation
    from vaetx_jax.data.tokenizers.tokenizers import load_tokenizer

    torch.set_num_threads(os.cpu_count() or 1)
    config = stored.read_config(folder / "model" / "config.json")
    tokenizer = load_tokenizer(folder / "model" / "tokenizer")
    params = unflatten(dict(np.load(folder / "params.npz")))
    model = TextModel(params, validation.model_settings(config), tokenizer.pad_id).eval()

    @torch.inference_mode()
    def encode(texts: list[str]) -> np.ndarray:
        pieces = [ids[: config.data.max_len - 2] for ids in tokenizer.encode(texts)]
        order = np.argsort([len(ids) for ids in pieces], kind="stable")
        means = np.zeros((len(texts), config.model.latent_dim), np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            ids = np.full((len(rows), len(pieces[rows[-1]]) + 1), tokenizer.pad_id)
            for row, number in zip(ids, rows, strict=True):
                row[: len(pieces[number]) + 1] = [tokenizer.cls_id, *pieces[number]]
            tensor = torch.from_numpy(ids)
            means[rows] = model.mu(model.encoder.encode(tensor, tensor != tokenizer.pad_id))
        return means

    @torch.inference_mode()
    def decode(latents: np.ndarray) -> list[str]:
        said: list[str] = []
        for start in range(0, len(latents), BATCH):
            z = torch.from_numpy(latents[start : start + BATCH])
            rows = greedy(model, z, tokenizer).tolist()
            said += [tokenizer.decode(row) for row in rows]
        return said

    return encode, decode


def greedy(model: Any, z: Any, tokenizer: Any) -> Any:
    """ids [B, PIECES] of a Transformer."""
    import torch
    from torch.nn import functional as F

    decoder = model.decoder
    projected = decoder.project(z)
    last, said = torch.full((len(z),), tokenizer.cls_id), []
    caches: list[list[Any]] = [[] for _ in decoder.layers]
    for position in range(PIECES):
        x = (decoder.token(last) + decoder.position.weight[position])[:, None]
        for layer, cache in zip(decoder.layers, caches, strict=True):
            attention = layer.attention
            new = [attention.key(x), attention.value(x)]
            cache[:] = (
                [torch.cat(pair, 1) for pair in zip(cache, new, strict=True)] if cache else new
            )
            query, keys, values = (
                t.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
                for t in (attention.query(x), *cache)
            )
            mixed = F.scaled_dot_product_attention(query, keys, values)
            x = layer.add(x, mixed.transpose(1, 2).flatten(-2))
            x = layer.add(x, layer.outer(F.gelu(layer.inner(x))))
            x = layer.add(x, layer.latent(x, projected, z))
        logits = model.head(x[:, 0])
        logits[:, [tokenizer.pad_id, tokenizer.cls_id]] = -torch.inf
        last = logits.argmax(-1)
        said.append(last)
    return torch.stack(said, 1)


def best(call: Callable[[], Any]) -> float:
    """Seconds of the fastest of some rounds; the first call, which compiles, is not among them."""
    call()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Times one side."""
    folder, side = pathlib.Path(sys.argv[1]), sys.argv[2]
    texts = json.loads((folder / "sentences.json").read_text())
    noise = np.random.default_rng(0).standard_normal((LATENTS, 64)).astype(np.float32)
    encode, decode = {"ours": ours, "pytorch": pytorch}[side](folder)
    result = {
        "encoded_per_second": len(texts) / best(lambda: encode(texts)),
        "decoded_per_second": LATENTS / best(lambda: decode(noise)),
        "one_seconds": best(lambda: decode(encode(texts[:1]))),
        "means": encode(texts[:100]).tolist(),
        "said": decode(noise),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
