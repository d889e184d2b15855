"""Where the time of a training step goes, in a table that adds up to the step.

    taskset -c 0 python -m benchmarks.step_parts --model=vae_gru

One batch of rows of equal length, V = 30,522, dimension 128, float32, random tokens. The output
loss, the optimizer and the norm of the gradients are compiled and timed alone, forward and backward
where there is one; the layers are what remains of the whole step. Milliseconds of this process's
time on all cores; the parts take turns, and the least of each counts, so that others on the machine
disturb little.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from benchmarks.process import run
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings
from vaetx_jax.losses.cross_entropy import weighted_nll
from vaetx_jax.models.build import build_model
from vaetx_jax.models.presets import MODELS
from vaetx_jax.runtime.mesh import data_mesh, put_batch
from vaetx_jax.training.optimizer import make_optimizer
from vaetx_jax.training.state import init_state
from vaetx_jax.training.step import make_train_step
from vaetx_jax.training.trainer import step_settings

_MODEL = flags.DEFINE_enum("model", "vae_transformer", list(MODELS), "Which model.")
_ROWS = flags.DEFINE_integer("rows", 32, "Sentences of the batch.", lower_bound=1)
_LENGTH = flags.DEFINE_integer("length", 24, "Tokens of each, the end included.", lower_bound=2)
_TIMES = flags.DEFINE_integer("times", 8, "How often each part is timed.", lower_bound=1)
_VOCAB = 30_522


def least(calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of processor time of each call, in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(_TIMES.value + 1):
        for name, call in calls.items():
            began = time.process_time()
            jax.block_until_ready(call())
            if number:  # the first one compiles
                times[name].append(1000 * (time.process_time() - began))
    return {name: min(each) for name, each in times.items()}


def loss_of(rng: np.random.Generator, dim: int) -> Callable[[], Any]:
    """The output loss of all positions, with its gradients."""
    count = _ROWS.value * _LENGTH.value
    h_NxD = jnp.asarray(rng.standard_normal((count, dim)), jnp.float32)
    kernel_VxD = jnp.asarray(0.05 * rng.standard_normal((_VOCAB, dim)), jnp.float32)
    target_N = jnp.asarray(rng.integers(4, _VOCAB, count), jnp.int32)
    weight_N, mask_N = jnp.ones(count), jnp.ones(count, bool)

    def loss(h: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        return weighted_nll(h, kernel, bias, target_N, weight_N, mask_N)[0]

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    return lambda: gradient(h_NxD, kernel_VxD, jnp.zeros(_VOCAB))


def main() -> None:
    """Prints the table."""
    config = default_config(_MODEL.value)
    model = build_model(model_settings(config), vocab_size=_VOCAB, pad_id=0)
    mesh, settings = data_mesh(), step_settings(config, 100)
    rng, key = np.random.default_rng(0), jax.random.key(1)
    ids = rng.integers(4, _VOCAB, (_ROWS.value, _LENGTH.value + 1)).astype(np.int32)
    batch = put_batch({"ids": ids, "weight": np.ones(_ROWS.value, np.float32)}, mesh)
    state = init_state(model, settings.optimizer, jax.random.key(0), mesh)
    optimizer, norm = make_optimizer(settings.optimizer), jax.jit(optax.global_norm)
    params = jax.tree.map(jnp.copy, state.params)  # the step takes those of the state

    def updated(params: Any, moments: Any) -> Any:
        changes, kept = optimizer.update(params, moments, params)  # any gradient costs the same
        return optax.apply_updates(params, changes), kept

    # As in a step, parameters and moments are written where they were.
    update = jax.jit(updated, donate_argnums=(0, 1))
    kept = jax.tree.map(jnp.copy, (params, optimizer.init(params)))
    step = make_train_step(model, settings, mesh)

    def one_update() -> Any:
        nonlocal kept
        kept = update(*kept)
        return kept

    def one_step() -> Any:
        nonlocal state
        state, metrics = step(state, batch, key)
        return metrics

    parts = least(
        {
            "output loss, forward and backward": loss_of(rng, config.model.dim),
            "optimizer": one_update,
            "norm of the gradients": lambda: norm(params),
            "the step": one_step,
        }
    )
    whole = parts.pop("the step")
    parts["layers, embeddings, dropout, latent (the rest)"] = whole - sum(parts.values())
    print(f"{_MODEL.value}, {_ROWS.value} rows of {_LENGTH.value} tokens, milliseconds")
    for name, milliseconds in {**parts, "the step": whole}.items():
        print(f"{name:48} {milliseconds:8.1f} {milliseconds / whole:6.0%}")


if __name__ == "__main__":
    run(main)
