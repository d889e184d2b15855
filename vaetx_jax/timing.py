"""The clockwork of Table 7: seconds of forward passes over a training set, and what bounds them.

A pass is what the evaluation of one batch takes: encoder, a latent, decoder, output layer and loss.
Compilation is timed apart; every batch length is warmed up; each measurement waits for its result.
"""

import dataclasses
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaetx_jax import objective
from vaetx_jax.flops import forward_flops
from vaetx_jax.mesh import put_batch, replicated, split_over_data
from vaetx_jax.models.text_vae import token_mask
from vaetx_jax.parts import Parts
from vaetx_jax.step import init_params

_SIDE = {"cpu": 2048}  # of the square product that stands for what a device can do
_LARGE_SIDE = 8192


@dataclasses.dataclass(frozen=True)
class ForwardTiming:
    """Forward passes over a training set.

    Attributes:
      seconds: of all batches; extrapolated by tokens where a sample was measured.
      tokens: real tokens of all sentences.
      flops: of the matrix products over them.
      compile_seconds: of all lengths together.
      batches, measured: how many there are, how many of them were timed.
      spread: the slowest repetition over the fastest.
    """

    seconds: float
    tokens: int
    flops: float
    compile_seconds: float
    batches: int
    measured: int
    spread: float


def matmul_rate(dtype: Any = jnp.float32) -> float:
    """FLOP/s that large square products of all devices reach together, the best of ten."""
    side = _SIDE.get(jax.default_backend(), _LARGE_SIDE)
    product = jax.jit(jnp.dot)
    operands = [jax.device_put(jnp.ones((side, side), dtype), d) for d in jax.local_devices()]

    def seconds() -> float:
        began = time.perf_counter()
        jax.block_until_ready([product(a, a) for a in operands])
        return time.perf_counter() - began

    seconds()
    return jax.process_count() * len(operands) * 2 * side**3 / min(seconds() for _ in range(10))


def time_forward(parts: Parts, *, sample: int, repetitions: int) -> ForwardTiming:
    """Times the forward passes over the training set of a run.

    Args:
      parts: the run; `data.batch_size` sentences a batch, over all devices.
      sample: batches that are timed, spread evenly over an epoch; 0: all.
      repetitions: the median of so many passes over them counts.
    """
    plan, split = parts.train_batches, parts.split("train")
    total = plan.steps_per_epoch
    count = min(sample, total) if sample else total
    numbers = np.linspace(0, total - 1, count).astype(int)
    batches = [
        put_batch({"ids": batch["ids"], "weight": batch["weight"]}, parts.mesh)
        for batch in map(plan.at, numbers.tolist())
    ]
    model, mesh = parts.training_model(), parts.mesh
    make = jax.jit(lambda key: init_params(model, key), out_shardings=replicated(mesh))
    params = make(jax.random.key(0))
    forward = _forward(parts)
    first = {batch["ids"].shape: batch for batch in batches}
    began = time.perf_counter()
    for batch in first.values():
        forward(params, batch).block_until_ready()
    compiled = time.perf_counter() - began
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        jax.block_until_ready([forward(params, batch) for batch in batches])
        times.append(time.perf_counter() - began)
    pad_id = model.pad_id
    measured = sum(int((np.asarray(batch["ids"])[:, 1:] != pad_id).sum()) for batch in batches)
    tokens = len(split.tokens) + len(split)
    return ForwardTiming(
        seconds=statistics.median(times) * tokens / measured,
        tokens=tokens,
        flops=forward_flops(params, split.lengths - 1),
        compile_seconds=compiled,
        batches=total,
        measured=count,
        spread=max(times) / min(times),
    )


def _forward(parts: Parts) -> Any:
    """(parameters, batch) -> the batch's negative ELBO, compiled over the mesh."""
    model, mesh = parts.training_model(), parts.mesh

    def forward(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
        ids_BxS = batch["ids"]
        eps_BxZ = jax.random.normal(jax.random.key(0), (ids_BxS.shape[0], model.latent_dim))
        mask_BxT = token_mask(ids_BxS, model.pad_id) & (batch["weight"] > 0)[:, None]
        bound = objective.sentence_bound(model, params, ids_BxS, eps_BxZ, mask_BxT, mesh)
        return jnp.sum(bound.nll_B) + jnp.sum(bound.kl_B)

    whole = replicated(mesh)
    return jax.jit(forward, in_shardings=(whole, split_over_data(mesh)), out_shardings=whole)
