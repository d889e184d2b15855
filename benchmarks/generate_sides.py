"""One side of `generate`, in a process of its own.

    python -m benchmarks.generate_sides FOLDER SIDE

It answers a line with a line: to `check` what it computes, for the comparison; to `warm TASK` the
batch size that is fastest for it, with everything compiled; to a task its seconds.
"""

import dataclasses
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

TOKENS = 30
# Task -> sentences.
TASKS = {"encode": 1000, "decode": 256, "sample": 128, "encode one": 1, "decode one": 1}
BATCHES = (16, 64, 256)  # that PyTorch may choose from
LEAST_SECONDS = 0.1  # of one timing: a call of a third of a millisecond alone is mostly noise


@dataclasses.dataclass(frozen=True)
class Functions:
    """What a side can do, at a batch size; None: it chooses the size itself.

    Attributes:
      encode: sentences -> means.
      decode: latents, whether tokens are drawn -> sentences.
      batches: the sizes to choose from.
    """

    encode: Callable[[list[str], Any], np.ndarray]
    decode: Callable[[np.ndarray, bool, Any], list[str]]
    batches: tuple[Any, ...]


def ours(folder: pathlib.Path) -> Functions:
    """JAX, through the public interface."""
    from vaetx_jax.inference.loading import load

    model = load(folder / "model")
    short = model.run.config.copy_and_resolve_references()
    short.data.max_len = TOKENS + 1
    brief = dataclasses.replace(model, run=dataclasses.replace(model.run, config=short))
    return Functions(
        lambda texts, batch: model.encode(texts)[0],
        lambda z, draws, batch: brief.decode(z, temperature=float(draws)),
        (None,),
    )


def pytorch(folder: pathlib.Path, *, compiled: bool) -> Functions:
    """PyTorch: batches sorted by length; decoding with keys and values kept."""
    import torch

    from benchmarks.sides import unflatten
    from benchmarks.torch_models import TextModel
    from vaetx_jax.config import stored, validation
    from vaetx_jax.data.tokenizers.tokenizers import load_tokenizer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = stored.read_config(folder / "model" / "config.json")
    tokenizer = load_tokenizer(folder / "model" / "tokenizer")
    params = unflatten(dict(np.load(folder / "params.npz")))
    model = TextModel(params, validation.model_settings(config), tokenizer.pad_id).eval()

    def means(ids: Any) -> Any:
        return model.mu(model.encoder.encode(ids, ids != tokenizer.pad_id))

    def step(last: Any, where: Any, caches: Any, projected: Any, z: Any) -> Any:
        return token_step(model, tokenizer, last, where, caches, projected, z)

    if compiled:
        means, step = torch.compile(means, dynamic=True), torch.compile(step, dynamic=True)

    @torch.inference_mode()
    def encode(texts: list[str], batch: int) -> np.ndarray:
        pieces = [ids[: config.data.max_len - 2] for ids in tokenizer.encode(texts)]
        order = np.argsort([len(ids) for ids in pieces], kind="stable")
        mean_NxZ = np.zeros((len(texts), config.model.latent_dim), np.float32)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            ids = np.full((len(rows), len(pieces[rows[-1]]) + 1), tokenizer.pad_id)
            for row, number in zip(ids, rows, strict=True):
                row[: len(pieces[number]) + 1] = [tokenizer.cls_id, *pieces[number]]
            mean_NxZ[rows] = means(torch.from_numpy(ids))
        return mean_NxZ

    @torch.inference_mode()
    def decode(latents: np.ndarray, draws: bool, batch: int) -> list[str]:
        said: list[str] = []
        for start in range(0, len(latents), batch):
            z = torch.from_numpy(latents[start : start + batch])
            last, caches, ids = torch.full((len(z),), tokenizer.cls_id), None, []
            projected = model.decoder.project(z)
            for position in range(TOKENS):
                where = model.decoder.position.weight[position]
                logits, caches = step(last, where, caches, projected, z)
                if draws:
                    last = torch.multinomial(torch.softmax(logits, -1), 1)[:, 0]
                else:
                    last = logits.argmax(-1)
                ids.append(last)
            said += [tokenizer.decode(row) for row in torch.stack(ids, 1).tolist()]
        return said

    return Functions(encode, decode, BATCHES)


def token_step(
    model: Any, tokenizer: Any, last: Any, where: Any, caches: Any, projected: Any, z: Any
) -> Any:
    """(logits [B, V], the keys and values so far of each layer) of a Transformer."""
    import torch
    from torch.nn import functional as F

    x, kept = (model.decoder.token(last) + where)[:, None], []
    for number, layer in enumerate(model.decoder.layers):
        attention = layer.attention
        new = [attention.key(x), attention.value(x)]
        if caches is not None:
            new = [torch.cat(pair, 1) for pair in zip(caches[number], new, strict=True)]
        kept.append(new)
        query, keys, values = (
            t.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for t in (attention.query(x), *new)
        )
        mixed = F.scaled_dot_product_attention(query, keys, values)
        x = layer.add(x, mixed.transpose(1, 2).flatten(-2))
        x = layer.add(x, layer.outer(F.gelu(layer.inner(x))))
        x = layer.add(x, layer.latent(x, projected, z))
    logits = model.head(x[:, 0])
    logits[:, [tokenizer.pad_id, tokenizer.cls_id]] = -torch.inf
    return logits, kept


def seconds(call: Callable[[], Any]) -> float:
    """Of a call, the mean of as many as take `LEAST_SECONDS`; an untimed one comes first, because
    the other sides' threads may still be spinning.
    """
    call()
    began, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - began < LEAST_SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - began) / calls


def main() -> None:
    """Answers until the end of its input."""
    folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    side = ours(folder) if name == "ours" else pytorch(folder, compiled=name == "compiled")
    texts = json.loads((folder / "sentences.json").read_text())
    noise = np.random.default_rng(0).standard_normal((256, 64)).astype(np.float32)
    chosen: dict[str, Any] = {}

    def call(task: str, batch: Any) -> Callable[[], Any]:
        size = TASKS[task]
        if task.startswith("encode"):
            return lambda: side.encode(texts[:size], batch)
        return lambda: side.decode(noise[:size], task == "sample", batch)

    for line in map(str.strip, sys.stdin):
        if line == "check":
            batch = side.batches[0]
            said = side.decode(noise[:16], False, batch)
            answer: Any = {"means": side.encode(texts[:100], batch).tolist(), "said": said}
        elif line.startswith("warm "):
            task = line.removeprefix("warm ")
            sizes = side.batches if TASKS[task] > 1 else side.batches[:1]
            chosen[task] = min(sizes, key=lambda size: seconds(call(task, size)))
            answer = chosen[task]
        else:
            answer = seconds(call(line, chosen[line]))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
