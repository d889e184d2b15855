"""How time and memory of a training step grow with the batch, the vocabulary and the length.

    python -m benchmarks.growth --json=growth.json

One axis grows at a time from batch 32, vocabulary 30,522, length 64 (all rows full, so that every
position is a token), VAE-Transformer at dimension 128; lengths go to 512, for which the published
model has positions, and for the VAE-GRU, which has none, to 1,024. Each row is a process of its
own, and so is its peak memory. Tokens a second should stay level along the batch, fall with the
output layer along the vocabulary, and fall slowly along the length (attention is quadratic).
"""

import dataclasses
import json
import pathlib
import statistics
import time

import jax
import numpy as np
from absl import flags

from benchmarks.process import last_line_of, peak_memory_mb, run
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings
from vaetx_jax.models.build import build_model
from vaetx_jax.runtime.mesh import data_mesh, put_batch
from vaetx_jax.training.state import init_state
from vaetx_jax.training.step import make_train_step
from vaetx_jax.training.trainer import step_settings

_JSON = flags.DEFINE_string("json", "", "A file for the results.")
_CASE = flags.DEFINE_string("case", "", "Used by the script itself.")
_STEPS = flags.DEFINE_integer("steps", 5, "Timed steps of each row; their median counts.")


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: the axis that grows, and the sizes."""

    axis: str
    model: str = "vae_transformer"
    batch: int = 32
    vocab: int = 30_522
    length: int = 64


CASES = [
    *(Case("batch", batch=n) for n in (32, 128, 512)),
    *(Case("vocabulary", vocab=n) for n in (8_000, 30_522, 120_000)),
    *(Case("length", length=n) for n in (64, 256, 512)),
    *(Case("length", model="vae_gru", length=n) for n in (64, 256, 1_024)),
]


def measure(case: Case) -> dict[str, float]:
    """Seconds a step, tokens a second and the peak of this process."""
    config = default_config(case.model)
    model = build_model(model_settings(config), vocab_size=case.vocab, pad_id=0)
    mesh, settings = data_mesh(), step_settings(config, 100)
    state = init_state(model, settings.optimizer, jax.random.key(0), mesh)
    key = jax.random.key(1)
    ids = np.random.default_rng(0).integers(4, case.vocab, (case.batch, case.length))
    weight = np.ones(case.batch, np.float32)
    batch = put_batch({"ids": ids.astype(np.int32), "weight": weight}, mesh)
    step, times = make_train_step(model, settings, mesh), []
    for _ in range(_STEPS.value + 1):
        began = time.perf_counter()
        state, metrics = step(state, batch, key)
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - began)
    seconds = statistics.median(times[1:])
    return {
        "seconds": seconds,
        "tokens_per_second": case.batch * (case.length - 1) / seconds,
        "peak_memory_mb": peak_memory_mb(),
    }


def in_a_process(case: Case) -> dict[str, float]:
    """`measure` in a process of its own."""
    chosen = f"--case={json.dumps(dataclasses.asdict(case))}"
    return json.loads(last_line_of("benchmarks.growth", f"--steps={_STEPS.value}", chosen))


def main() -> None:
    """Prints a row for each case and writes all."""
    if _CASE.value:
        print(json.dumps(measure(Case(**json.loads(_CASE.value)))))
        return
    rows = []
    print("axis        model             batch    vocab  length   s a step  tokens/s  peak MB")
    for case in CASES:
        row = dataclasses.asdict(case) | in_a_process(case)
        rows.append(row)
        print(
            f"{case.axis:11} {case.model:16} {case.batch:6,} {case.vocab:8,} {case.length:7,} "
            f"{row['seconds']:10.3f} {row['tokens_per_second']:9,.0f} "
            f"{row['peak_memory_mb']:8,.0f}",
            flush=True,
        )
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
