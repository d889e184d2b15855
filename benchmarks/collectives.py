"""What a compiled training step says of itself on many devices: bytes sent, bytes held.

    python -m benchmarks.collectives --devices=8 --dims=128,1024 --sentences=32

Nothing is run: the step of the VAE-Transformer (V = 30,522, rows of 32 pieces) is compiled for so
many forced CPU devices, with and without `mesh.shard_state`, and the collectives are read off the
compiled program, for docs/scale.md. The compiler for another device may choose other collectives
for the same program.
"""

import os
import re
import sys

if __name__ == "__main__" and "--xla_force" not in os.environ.get("XLA_FLAGS", ""):
    wanted = next((a.split("=")[1] for a in sys.argv if a.startswith("--devices=")), "8")
    forced = f"--xla_force_host_platform_device_count={wanted}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {forced}".strip()

import math

import jax
import jax.numpy as jnp
from absl import flags

from benchmarks.process import run
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings
from vaetx_jax.models.build import build_model
from vaetx_jax.runtime.mesh import data_mesh, split_over_data
from vaetx_jax.training.state import count_parameters, init_state
from vaetx_jax.training.step import make_train_step
from vaetx_jax.training.trainer import step_settings

_DEVICES = flags.DEFINE_integer("devices", 8, "Forced CPU devices.", lower_bound=2)
_SENTENCES = flags.DEFINE_integer("sentences", 32, "A device's share of the batch.")
_DIMS = flags.DEFINE_list("dims", ["128", "1024"], "Model dimensions.")
BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "f64": 8, "s64": 8, "u8": 1}
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


def compiled_step(dim: int, *, shard_state: bool) -> tuple[object, int]:
    """A training step, compiled, and the model's number of parameters."""
    config = default_config()
    config.model.dim = dim
    model = build_model(model_settings(config), vocab_size=30_522, pad_id=0)
    settings, mesh = step_settings(config, 1000), data_mesh()
    rows, count = split_over_data(mesh), _SENTENCES.value * mesh.size
    batch = {
        "ids": jax.ShapeDtypeStruct((count, 32), jnp.int32, sharding=rows),
        "weight": jax.ShapeDtypeStruct((count,), jnp.float32, sharding=rows),
    }
    key = jax.random.key(0)
    shapes = jax.eval_shape(
        lambda key: init_state(model, settings.optimizer, key, mesh, shard_state=shard_state), key
    )
    step = make_train_step(model, settings, mesh, shard_state=shard_state)
    return step.lower(shapes, batch, key).compile(), count_parameters(model)


def collectives(text: str) -> dict[str, int]:
    """Bytes that each kind of collective gives out on one device, by the compiled program."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        match = re.search(r"= (\(.*?\)|\S+) ([a-z\-]+)(?:-start)?\(", line)
        if match and match[2] in KINDS:
            sizes = [
                BYTES.get(kind, 4) * math.prod(int(n) for n in shape.split(",") if n)
                for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", match[1])
            ]
            found[match[2]] = found.get(match[2], 0) + sum(sizes)
    return found


def main() -> None:
    """Prints a row for each model and layout, megabytes a device."""
    print("| dim | state | parameters | 4P | collectives | state held | step's own |")
    print("|---|---|---|---|---|---|---|")
    for dim in map(int, _DIMS.value):
        for shard_state in (False, True):
            compiled, parameters = compiled_step(dim, shard_state=shard_state)
            sizes = collectives(compiled.as_text())
            words = ", ".join(f"{kind} {size / 1e6:.1f}" for kind, size in sorted(sizes.items()))
            memory = compiled.memory_analysis()
            print(
                f"| {dim} | {'sharded' if shard_state else 'whole'} | {parameters:,} | "
                f"{4 * parameters / 1e6:.1f} | {words} | {memory.argument_size_in_bytes / 1e6:.1f} "
                f"| {memory.temp_size_in_bytes / 1e6:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    run(main)
