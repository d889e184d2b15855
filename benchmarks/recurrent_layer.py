"""Two recurrent layers, forward and backward, beside PyTorch's in one run.

    python -m benchmarks.recurrent_layer --json=recurrent.json

Both sides run the same sizes (batch 32, 32 steps, 128 inputs), the same weights and the same sum of
squares, and give the gradients of all weights and of the inputs; where their losses differ by more
than 1e-4 there is nothing to time and the script refuses. The sides alternate; each timed call
comes after an untimed one of the same side, because the other side's threads may still be spinning.
A ratio is our time over PyTorch's: below 1 we are faster. Needs `pip install 'vaetx-jax[bench]'`.
"""

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks.process import run
from vaetx_jax.errors import UserError
from vaetx_jax.models.recurrent import RecurrentLayer

_HIDDEN = flags.DEFINE_list("hidden", ["128", "1024"], "Widths of the states.")
_CELLS = flags.DEFINE_list("cells", ["lstm", "gru"], "Cells.")
_DIRECTIONS = flags.DEFINE_list("directions", ["1", "2"], "1: one direction, 2: both.")
_SECONDS = flags.DEFINE_float("seconds", 5.0, "Time for each row; at least three pairs are run.")
_JSON = flags.DEFINE_string("json", "", "A file for the results.")

STEPS, BATCH, INPUTS, LAYERS = 32, 32, 128, 2
WEIGHTS = {
    "input_kernel": "weight_ih",
    "recurrent_kernel": "weight_hh",
    "input_bias": "bias_ih",
    "recurrent_bias": "bias_hh",
}


class Stack(nn.Module):
    """The layers alone: x [T, B, D] to h [H * directions, T, B]."""

    cell: str
    hidden: int
    directions: int

    @nn.compact
    def __call__(self, x_TxBxD: jax.Array) -> jax.Array:
        x_DxTxB = x_TxBxD.transpose(2, 0, 1)
        for number in range(LAYERS):
            outputs = []
            for direction in range(self.directions):
                name = f"l{number}" + "_reverse" * direction
                width = x_DxTxB.shape[0]
                layer = RecurrentLayer(self.cell, width, self.hidden, direction == 1, name=name)
                outputs.append(layer(x_DxTxB, layer.zeros(BATCH)))
            x_DxTxB = jnp.concatenate(outputs)
        return x_DxTxB


@dataclasses.dataclass(frozen=True)
class Row:
    """Seconds of one forward and backward pass, and the ratio ours / PyTorch's of each pair."""

    cell: str
    hidden: int
    directions: int
    ours: float
    torch: float
    ratio: float
    ratio_quarter: float
    ratio_three_quarters: float
    pairs: int


def our_side(model: Stack, x_TxBxD: np.ndarray) -> tuple[Any, Callable[[], float]]:
    """The weights, and one pass, which returns the loss."""
    params = jax.jit(model.init)(jax.random.key(0), x_TxBxD)

    def loss(params: Any, x_TxBxD: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(model.apply(params, x_TxBxD)))

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    x_TxBxD = jnp.asarray(x_TxBxD)
    return params["params"], lambda: float(jax.block_until_ready(step(params, x_TxBxD))[0])


def torch_side(model: Stack, weights: Any, x_TxBxD: np.ndarray) -> Callable[[], float]:
    """One pass of PyTorch's module with the same weights, which returns the loss."""
    try:
        import torch
    except ImportError as error:
        raise UserError("PyTorch is not installed: pip install 'vaetx-jax[bench]'") from error
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[model.cell]
    stack = kind(INPUTS, model.hidden, LAYERS, bidirectional=model.directions == 2)
    for layer, arrays in weights.items():
        for ours, theirs in WEIGHTS.items():
            getattr(stack, f"{theirs}_{layer}").data = torch.tensor(np.asarray(arrays[ours]))
    x = torch.tensor(x_TxBxD, requires_grad=True)

    def step() -> float:
        stack.zero_grad(set_to_none=True)
        x.grad = None
        loss = stack(x)[0].square().sum()
        loss.backward()
        return loss.item()

    return step


def seconds(step: Callable[[], float]) -> float:
    """One timed pass after an untimed one."""
    step()
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare(model: Stack, limit: float) -> Row:
    """Both sides in turns for `limit` seconds, at least three pairs."""
    x_TxBxD = np.random.default_rng(0).normal(size=(STEPS, BATCH, INPUTS)).astype(np.float32)
    weights, ours = our_side(model, x_TxBxD)
    theirs = torch_side(model, weights, x_TxBxD)
    losses = ours(), theirs()
    if abs(losses[0] - losses[1]) > 1e-4 * abs(losses[1]):
        raise UserError(f"{model.cell} {model.hidden}: the losses differ, {losses}")
    pairs = []
    end = time.perf_counter() + limit
    while time.perf_counter() < end or len(pairs) < 3:
        pairs.append((seconds(ours), seconds(theirs)))
    quarters = statistics.quantiles([ours / theirs for ours, theirs in pairs], n=4)
    return Row(
        model.cell,
        model.hidden,
        model.directions,
        statistics.median(ours for ours, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
        quarters[1],
        quarters[0],
        quarters[2],
        len(pairs),
    )


def main() -> None:
    """Print a row for each cell, width and number of directions, and write them all."""
    start_load = os.getloadavg()[0]
    rows = []
    print("cell  hidden  directions  ours ms  torch ms  ratio  (quarters)  pairs")
    for hidden in map(int, _HIDDEN.value):
        for cell in _CELLS.value:
            for directions in map(int, _DIRECTIONS.value):
                row = compare(Stack(cell, hidden, directions), _SECONDS.value)
                rows.append(row)
                print(
                    f"{cell:4} {hidden:7} {directions:11} {1e3 * row.ours:8.1f} "
                    f"{1e3 * row.torch:9.1f} {row.ratio:6.2f}  "
                    f"({row.ratio_quarter:.2f} to {row.ratio_three_quarters:.2f}) {row.pairs:6}",
                    flush=True,
                )
    load = {"start": start_load, "end": os.getloadavg()[0]}
    print(f"load average: {load['start']:.1f} before, {load['end']:.1f} after (the run adds to it)")
    if _JSON.value:
        results = {"rows": [dataclasses.asdict(row) for row in rows], "load": load}
        Path(_JSON.value).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
