"""One side of the race of `train_step`, in a process of its own.

    python -m benchmarks.sides FOLDER SIDE

FOLDER holds the race: `race.json`, `params.npz`, `batches.npz`. The process says what its loss is
at the first weights with given noise and without dropout; then it passes over the batches whose
numbers it reads and says the seconds. Each timed pass comes after an untimed one, because the
other sides' threads may still be spinning. At the end of its input it says its peak memory.
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

from benchmarks.process import peak_memory_mb
from vaetx_jax.models.presets import ModelSettings

Once = Callable[[np.ndarray], float]  # one pass over ids [B, S]; returns its loss


@dataclasses.dataclass(frozen=True)
class RaceFacts:
    """What all sides know of the race."""

    settings: dict[str, Any]
    vocab_size: int
    pad_id: int
    max_len: int
    what: str  # train or evaluation
    precision: str

    def model_settings(self) -> ModelSettings:
        return ModelSettings(**self.settings)


def unflatten(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The tree whose leaves' paths, joined by '/', are the keys."""
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, name = path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = array
    return tree


def ours(facts: RaceFacts, params: dict[str, Any], noise: np.ndarray) -> tuple[Once, Once]:
    """(the first loss, one timed pass) of JAX."""
    import jax
    import jax.numpy as jnp

    from vaetx_jax.config.defaults import default_config
    from vaetx_jax.losses import elbo
    from vaetx_jax.models.build import build_model
    from vaetx_jax.runtime.freed_memory import return_after_compiling
    from vaetx_jax.runtime.mesh import data_mesh, put_batch, put_replicated
    from vaetx_jax.training import state as state_lib
    from vaetx_jax.training import step
    from vaetx_jax.training.trainer import step_settings

    def build(precision: str) -> Any:
        return build_model(
            facts.model_settings(),
            vocab_size=facts.vocab_size,
            pad_id=facts.pad_id,
            dtype=jnp.bfloat16 if precision == "bfloat16" else None,
        )

    return_after_compiling()  # as a training does
    mesh, model = data_mesh(), build("float32")

    def nelbo(params: Any, ids: jax.Array, eps: jax.Array) -> jax.Array:
        mask = ids[:, 1:] != facts.pad_id
        bound = elbo.sentence_bound(model, {"params": params}, ids, eps, mask, mesh)
        return (jnp.sum(bound.nll_B) + jnp.sum(bound.kl_B)) / ids.shape[0]

    compiled = jax.jit(nelbo)

    def loss_of(ids: np.ndarray, eps: np.ndarray) -> float:
        return float(compiled(params, ids, eps))

    if facts.what == "evaluation":
        params = jax.device_put(params)
        zero = jnp.zeros_like(jnp.asarray(noise))
        return lambda ids: loss_of(ids, noise), lambda ids: loss_of(ids, zero)

    settings = step_settings(default_config(facts.settings["name"]), 1000)
    state = state_lib.init_state(model, settings.optimizer, jax.random.key(0), mesh)
    # The weights are the race's own, put where the state's are.
    state = state.with_params(put_replicated(params, mesh))
    train_step = step.make_train_step(build(facts.precision), settings, mesh)
    key, weight = jax.random.key(1), np.ones(len(noise), np.float32)

    def trained(ids: np.ndarray) -> float:
        nonlocal state
        state, metrics = train_step(state, put_batch({"ids": ids, "weight": weight}, mesh), key)
        return float(metrics.sums.loss)

    return lambda ids: loss_of(ids, noise), trained


def theirs(
    name: str, facts: RaceFacts, params: dict[str, Any], noise: np.ndarray
) -> tuple[Once, Once]:
    """(the first loss, one timed pass) of PyTorch."""
    import torch

    from benchmarks.torch_models import TextModel

    torch.set_num_threads(os.cpu_count() or 1)
    model = TextModel(params, facts.model_settings(), facts.pad_id)
    compiled = name.startswith("compiled")
    forward = torch.compile(model) if compiled else model
    # The fastest optimizer that PyTorch has for a CPU goes with `torch.compile`.
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, weight_decay=0.1, fused=compiled or None
    )

    def rows(ids: np.ndarray) -> torch.Tensor:
        missing = facts.max_len - ids.shape[1] if name.endswith("padded") else 0
        ids = np.pad(ids, ((0, 0), (0, missing)), constant_values=facts.pad_id)
        return torch.from_numpy(ids.astype(np.int64))

    def loss_of(run: Any, ids: np.ndarray, eps: torch.Tensor) -> float:
        model.eval()
        with torch.no_grad():
            return run(rows(ids), eps, 1.0).item()

    def trained(ids: np.ndarray) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(rows(ids), torch.randn(noise.shape), 1.0)
        loss.backward()
        optimizer.step()
        return loss.item()

    def first(ids: np.ndarray) -> float:
        loss = loss_of(model, ids, torch.from_numpy(noise))
        model.train(facts.what == "train")
        return loss

    zero = torch.zeros(noise.shape)
    if facts.what == "evaluation":
        return first, lambda ids: loss_of(forward, ids, zero)
    return first, trained


def main(folder: pathlib.Path, name: str) -> None:
    """Answers a line for a line: the first loss, seconds of passes, the peak memory."""
    facts = RaceFacts(**json.loads((folder / "race.json").read_text()))
    with np.load(folder / "params.npz") as file:
        params = unflatten(dict(file))
    with np.load(folder / "batches.npz") as file:
        batches, noise = {k: file[k] for k in file if k != "noise"}, file["noise"]
    side = ours if name == "ours" else lambda *args: theirs(name, *args)
    first, once = side(facts, params, noise)
    del params
    print(first(batches["0"]), flush=True)
    for line in sys.stdin:
        ids = batches[line.strip()]
        once(ids)
        began = time.perf_counter()
        once(ids)
        print(time.perf_counter() - began, flush=True)
    print(peak_memory_mb(), flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
