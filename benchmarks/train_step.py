"""A training step (or an evaluation) of ours beside PyTorch's, in one run, on the Penn Treebank.

    python -m benchmarks.train_step --model=vae_transformer --json=train_step.json

All sides take the same batches of 32 sentences at the same weights, in turns: ours (length groups,
fused loss); `eager_padded`, PyTorch as it is, every batch padded to 64, all logits; the same under
`torch.compile`, `compiled_padded`; that on our length groups, `compiled_grouped`. Each side is a
process of its own, which is idle while another has its turn; ours is started as our commands start
themselves, with huge pages (`--torch_huge_pages` gives them to PyTorch, too). Before anything is
timed the losses of all sides must agree to 1e-4. A ratio is PyTorch's time over ours: above 1 we
are faster. Needs `pip install 'vaetx-jax[bench]'`.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import tempfile
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks.process import Side, run
from benchmarks.sides import RaceFacts
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings, validate
from vaetx_jax.errors import UserError
from vaetx_jax.models import text_vae
from vaetx_jax.models.flops import forward_flops
from vaetx_jax.models.presets import MODELS
from vaetx_jax.run.run import create_run
from vaetx_jax.runtime.huge_pages import with_huge_pages
from vaetx_jax.study.timing import matmul_rate

SIDES = ("ours", "eager_padded", "compiled_padded", "compiled_grouped")
_MODEL = flags.DEFINE_enum("model", "vae_transformer", MODELS, "Which model.")
_DIM = flags.DEFINE_integer("dim", 128, "Its dimension.")
_DATA = flags.DEFINE_string("data", "../shared/data", "The folder of the corpora.")
_TOKENIZER = flags.DEFINE_string("tokenizer", "wordpiece", "wordpiece has the paper's 30,522.")
_WHAT = flags.DEFINE_enum("what", "train", ["train", "evaluation"], "What is timed.")
_PRECISION = flags.DEFINE_string("precision", "float32", "Of our side: float32 or bfloat16.")
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Batches that every side is timed on.")
_SIDES = flags.DEFINE_list("sides", list(SIDES), "Which sides; `ours` is always there.")
_TORCH_HUGE_PAGES = flags.DEFINE_bool("torch_huge_pages", False, "Huge pages for PyTorch, too.")
_JSON = flags.DEFINE_string("json", "", "A file for the results.")


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


def race(folder: pathlib.Path) -> dict[str, Any]:
    """Runs the race and returns its results."""
    names = ["ours", *(name for name in _SIDES.value if name != "ours")]
    shared = Race(folder)
    runners = [Runner(folder, name) for name in names]
    losses = check_losses(runners)
    by_length = {ids.shape[1]: number for number, ids in enumerate(shared.batches)}
    for runner in runners:
        for number in by_length.values():
            runner.seconds(number)
        print(f"{runner.name}: compiled", flush=True)
    times: dict[str, list[float]] = {name: [] for name in names}
    shares, rate = [], matmul_rate()
    for number in range(len(shared.batches)):
        for runner in runners if number % 2 else reversed(runners):
            times[runner.name].append(runner.seconds(number))
        shares.append(shared.flops(number) / times["ours"][-1] / rate)
    ratios = {}
    for name in names[1:]:
        pairs = [t / o for t, o in zip(times[name], times["ours"], strict=True)]
        low, middle, high = statistics.quantiles(pairs, n=4)
        total = sum(times[name]) / sum(times["ours"])
        ratios[name] = {"median": middle, "quarter": low, "three_quarters": high, "total": total}
    return {
        "model": _MODEL.value,
        "dim": _DIM.value,
        "vocab_size": shared.facts.vocab_size,
        "what": _WHAT.value,
        "precision": _PRECISION.value,
        "torch_huge_pages": _TORCH_HUGE_PAGES.value,
        "rounds": len(shared.batches),
        "first_loss": losses,
        "seconds": {name: statistics.median(times[name]) for name in names},
        "ratios": ratios,
        "matmul_gflops": rate / 1e9,
        "matmul_share": statistics.median(shares),
        "peak_memory_mb": {runner.name: runner.peak_memory_mb() for runner in runners},
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Prints a table and writes the results."""
    with tempfile.TemporaryDirectory() as folder:
        results = race(pathlib.Path(folder))
    print(
        f"{_MODEL.value}, {_WHAT.value}: seconds, PyTorch's time over ours (quarters), peak memory"
    )
    for name, median in results["seconds"].items():
        memory = f"{results['peak_memory_mb'][name]:7,.0f} MB"
        ratio = results["ratios"].get(name)
        beside = "" if ratio is None else f"{ratio['median']:5.2f}x "
        if ratio is not None:
            beside += f"({ratio['quarter']:.2f} to {ratio['three_quarters']:.2f})"
        print(f"{name:18} {median:7.3f} s  {beside:22} {memory}")
    print(
        f"{results['matmul_share']:.0%} of {results['matmul_gflops']:.0f} GFLOP/s, which a "
        "2048 x 2048 product reaches here"
    )
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
