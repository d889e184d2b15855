"""What a checkpoint costs the training: steps beside its writing, against steps without.

    python -m benchmarks.saving --json=saving.json

Rounds of steps of the VAE-Transformer (dimension 128, vocabulary 30,522, 32 full rows of 64 tokens)
without a save, with a state being written by the thread, and after a save that was waited for, in
turn. A round's first step bears the copy of the state to the host's memory. The medians over rounds
of seconds per step, and of the ratio of neighbouring rounds, are printed.
"""

import json
import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np
from absl import flags

from benchmarks.process import run
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings
from vaetx_jax.models.build import build_model
from vaetx_jax.runtime.mesh import data_mesh, put_batch
from vaetx_jax.training.checkpoint import CheckpointInfo, Checkpoints
from vaetx_jax.training.state import init_state
from vaetx_jax.training.step import make_train_step
from vaetx_jax.training.trainer import step_settings

_JSON = flags.DEFINE_string("json", "", "A file for the results.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Rounds of each kind.")
_STEPS = flags.DEFINE_integer("steps", 5, "Steps of a round.")
_VOCAB, _ROWS, _LENGTH = 30_522, 32, 64
KINDS = ("no save", "written meanwhile", "waited for")


def main() -> None:
    """The benchmark."""
    config = default_config()
    model = build_model(model_settings(config), vocab_size=_VOCAB, pad_id=0)
    mesh, settings = data_mesh(), step_settings(config, 100)
    state = init_state(model, settings.optimizer, jax.random.key(0), mesh)
    key, step = jax.random.key(1), make_train_step(model, settings, mesh)
    ids = np.random.default_rng(0).integers(4, _VOCAB, (_ROWS, _LENGTH)).astype(np.int32)
    batch = put_batch({"ids": ids, "weight": np.ones(_ROWS, np.float32)}, mesh)
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(pathlib.Path(folder) / "checkpoints", writable=True)
        for number in range(1, 1 + len(KINDS) * (_ROUNDS.value + 1)):
            kind, began = KINDS[number % len(KINDS)], time.perf_counter()
            if kind != "no save":
                checkpoints.begin(state, CheckpointInfo(number, None, candidate=False))
            if kind == "waited for":
                checkpoints.finish()
            for _ in range(_STEPS.value):
                state, metrics = step(state, batch, key)
                jax.block_until_ready(metrics)
            seconds[kind].append((time.perf_counter() - began) / _STEPS.value)
            checkpoints.finish()  # outside of the time: the next round is without it
    rows = {kind: times[1:] for kind, times in seconds.items()}  # the first one compiles
    plain = rows["no save"]
    found = {
        kind: {
            "seconds_per_step": statistics.median(times),
            "ratio": statistics.median(a / b for a, b in zip(times, plain, strict=True)),
        }
        for kind, times in rows.items()
    }
    for kind, row in found.items():
        print(f"{kind:18} {row['seconds_per_step']:.3f} s per step, {row['ratio']:.3f} of no save")
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
