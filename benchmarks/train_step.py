"""A training step (or an evaluation) of ours beside PyTorch's, in one run, on the Penn Treebank.

    python -m benchmarks.train_step --model=vae_transformer --results=results/speed

All sides take the same batches of 32 sentences at the same weights, in turns: ours (length groups,
fused loss); `eager_padded`, PyTorch as it is, every batch padded to 64, all logits; the same under
`torch.compile`, `compiled_padded`; that on our length groups, `compiled_grouped`. Each side is a
process of its own, which is idle while another has its turn; ours is started as our commands start
themselves, with huge pages (`--torch_huge_pages` gives them to PyTorch, too). Before anything is
timed the losses of all sides must agree to 1e-4. A ratio is PyTorch's time over ours: above 1 we
are faster. None is given where others kept the processor busy (`--others`). The rate of a large
matrix product is measured in each round, as it changes with the clock and with the neighbours.
Needs `pip install 'vaetx-jax[bench]'`; `benchmarks.speed_table` prints all results as a table.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import processor
from benchmarks.process import Side, run
from benchmarks.sides import RaceFacts
from benchmarks.step_report import file_name, ratio, report
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings, validate
from vaetx_jax.errors import UserError
from vaetx_jax.models import text_vae
from vaetx_jax.models.flops import forward_flops
from vaetx_jax.models.presets import MODELS
from vaetx_jax.run.run import create_run
from vaetx_jax.runtime.huge_pages import with_huge_pages

SIDES = ("ours", "eager_padded", "compiled_padded", "compiled_grouped")
LEAST_ROUNDS, ROUND_SECONDS = 2, 120  # slow rounds are fewer, but these
_PRODUCT_SIDE = 2048
_MODEL = flags.DEFINE_enum("model", "vae_transformer", MODELS, "Which model.")
_DIM = flags.DEFINE_integer("dim", 128, "Its dimension.")
_DATA = flags.DEFINE_string("data", "../shared/data", "The folder of the corpora.")
_TOKENIZER = flags.DEFINE_string("tokenizer", "wordpiece", "wordpiece has the paper's 30,522.")
_WHAT = flags.DEFINE_enum("what", "train", ["train", "evaluation"], "What is timed.")
_PRECISION = flags.DEFINE_string("precision", "float32", "Of our side: float32 or bfloat16.")
_ROUNDS = flags.DEFINE_integer(
    "rounds", 20, "Batches that every side is timed on.", lower_bound=LEAST_ROUNDS
)
_SIDES = flags.DEFINE_list("sides", list(SIDES), "Which sides; `ours` is always there.")
_TORCH_HUGE_PAGES = flags.DEFINE_bool("torch_huge_pages", False, "Huge pages for PyTorch, too.")
_OTHERS = flags.DEFINE_float("others", 0.1, "The share of the processor that others may take.")
_RESULTS = flags.DEFINE_string("results", "", "A folder for the results, a file per processor.")


class Race:
    """Batches and fresh weights in a folder that all sides read."""

    def __init__(self, folder: pathlib.Path):
        config = default_config(_MODEL.value)
        config.data.corpus, config.data.manual_dir = "ptb", _DATA.value
        config.tokenizer.kind = _TOKENIZER.value
        config.model.dim = _DIM.value
        config.train.precision = _PRECISION.value
        validate(config)
        run = create_run(config, folder)
        settings = model_settings(config)
        self.pad_id = run.tokenizer.pad_id
        self.batches = full_batches(run.train_batches, _ROUNDS.value)
        self.params = jax.device_get(text_vae.init(run.model, jax.random.key(0))["params"])
        self.facts = RaceFacts(
            settings=dataclasses.asdict(settings),
            vocab_size=run.tokenizer.size,
            pad_id=self.pad_id,
            max_len=config.data.max_len,
            what=_WHAT.value,
            precision=_PRECISION.value,
        )
        noise = np.random.default_rng(0).standard_normal((32, settings.latent_dim))
        (folder / "race.json").write_text(json.dumps(dataclasses.asdict(self.facts)))
        leaves = jax.tree.leaves_with_path(self.params)
        flat = {"/".join(str(key.key) for key in path): leaf for path, leaf in leaves}
        np.savez(folder / "params.npz", **flat)
        numbered = {str(i): ids for i, ids in enumerate(self.batches)}
        np.savez(folder / "batches.npz", noise=noise.astype(np.float32), **numbered)

    def flops(self, number: int) -> float:
        """Of the matrix products over real tokens; backward takes twice as much as forward."""
        lengths = (self.batches[number][:, 1:] != self.pad_id).sum(1)
        return (3 if _WHAT.value == "train" else 1) * forward_flops(self.params, lengths)


def full_batches(grouped: Any, count: int) -> list[np.ndarray]:
    """ids [32, S] of full batches from the middle of the first epoch on."""
    found, number = [], grouped.steps_per_epoch // 2
    while len(found) < count:
        batch = grouped.at(number)
        number += 1
        if batch["weight"].all():
            found.append(batch["ids"])
    return found


class Runner(Side):
    """The process of one side."""

    def __init__(self, folder: pathlib.Path, name: str):
        environment = dict(os.environ)
        if name == "ours" or _TORCH_HUGE_PAGES.value:
            environment = with_huge_pages(environment)
        super().__init__("benchmarks.sides", folder, name, environment)
        self.first_loss = float(self.answer())

    def seconds(self, number: int) -> float:
        """Of one pass over a batch."""
        return float(self.ask(str(number)))

    def peak_memory_mb(self) -> float:
        """Of the whole process, which ends."""
        self.end()
        return float(self.answer())


def check_losses(runners: list[Runner]) -> dict[str, float]:
    """The first loss of all sides, without dropout, with the same noise.

    Raises:
      UserError: they differ by more than 1e-4, so there is nothing to compare.
    """
    losses = {runner.name: runner.first_loss for runner in runners}
    if max(losses.values()) - min(losses.values()) > 1e-4 * abs(losses["ours"]):
        raise UserError(f"the first losses differ: {losses}")
    return losses


class ProductRate:
    """The FLOP/s of a large square product, measured again at each call."""

    def __init__(self) -> None:
        self._product = jax.jit(jnp.dot)
        self._operand = jnp.ones((_PRODUCT_SIDE, _PRODUCT_SIDE), jnp.float32)
        self()

    def __call__(self) -> float:
        """The best of three, after one that is not timed."""

        def seconds() -> float:
            began = time.perf_counter()
            self._product(self._operand, self._operand).block_until_ready()
            return time.perf_counter() - began

        seconds()
        return 2 * _PRODUCT_SIDE**3 / min(seconds() for _ in range(3))


def warm_up(runners: list[Runner], batches: list[np.ndarray]) -> None:
    """Compiles what the rounds need: a program per length, but one where all are padded."""
    by_length = {ids.shape[1]: number for number, ids in enumerate(batches)}
    for runner in runners:
        numbers = list(by_length.values())
        for number in numbers[:1] if runner.name.endswith("padded") else numbers:
            runner.seconds(number)
        print(f"{runner.name}: compiled", flush=True)


def race(folder: pathlib.Path) -> dict[str, Any]:
    """Runs the race and returns its results."""
    names = ["ours", *(name for name in _SIDES.value if name != "ours")]
    shared = Race(folder)
    runners = [Runner(folder, name) for name in names]
    losses = check_losses(runners)
    warm_up(runners, shared.batches)
    product = ProductRate()
    times: dict[str, list[float]] = {name: [] for name in names}
    rates, shares, began = [], [], time.monotonic()
    load = processor.OthersLoad(runner.pid for runner in runners)
    for number in range(len(shared.batches)):
        if number >= LEAST_ROUNDS and time.monotonic() - began > ROUND_SECONDS:
            break
        for runner in runners if number % 2 else reversed(runners):
            times[runner.name].append(runner.seconds(number))
        rates.append(product())
        shares.append(shared.flops(number) / times["ours"][-1] / rates[-1])
    others = load.share()
    idle = others <= _OTHERS.value
    return {
        "processor": processor.describe(),
        "model": _MODEL.value,
        "dim": _DIM.value,
        "vocab_size": shared.facts.vocab_size,
        "what": _WHAT.value,
        "precision": _PRECISION.value,
        "torch_huge_pages": _TORCH_HUGE_PAGES.value,
        "rounds": len(rates),
        "first_loss": losses,
        "seconds": {name: statistics.median(times[name]) for name in names},
        "others": others,
        "ratios": {name: ratio(times[name], times["ours"]) for name in names[1:]} if idle else {},
        "matmul_gflops": statistics.median(rates) / 1e9,
        "matmul_share": statistics.median(shares) if idle else None,
        "peak_memory_mb": {runner.name: runner.peak_memory_mb() for runner in runners},
    }


def main() -> None:
    """Prints a table and writes the results."""
    with tempfile.TemporaryDirectory() as folder:
        results = race(pathlib.Path(folder))
    print(report(results))
    if _RESULTS.value:
        path = pathlib.Path(_RESULTS.value) / file_name(results)
        path.write_text(json.dumps(results, indent=2) + "\n")
        print(f"written: {path}")


if __name__ == "__main__":
    run(main)
