"""A training step (or an evaluation) of ours beside PyTorch's, in one run, on the Penn Treebank.

    python -m benchmarks.train_step --model=vae_transformer --json=train_step.json

All sides take the same batches of 32 sentences at the same weights, in turns: ours (length groups,
fused loss); `eager_padded`, PyTorch as it is, every batch padded to 64, all logits; the same under
`torch.compile`, `compiled_padded`; that on our length groups, `compiled_grouped`. Before anything
is timed the losses of all sides must agree to 1e-4. Each timed pass comes after an untimed one of
the same side, because the other side's threads may still be spinning. A ratio is PyTorch's time
over ours: above 1 we are faster. Memory is the peak of a process of its own for each side.
Needs `pip install 'vaetx-jax[bench]'`.
"""

import json
import os
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks.process import last_line_of, peak_memory_mb, run
from vaetx_jax import objective, step
from vaetx_jax.config import default_config, model_settings, validate
from vaetx_jax.errors import UserError
from vaetx_jax.flops import forward_flops
from vaetx_jax.main import use_compilation_cache
from vaetx_jax.mesh import put_batch
from vaetx_jax.parts import Parts, assemble
from vaetx_jax.presets import MODELS
from vaetx_jax.timing import matmul_rate
from vaetx_jax.train import make_plan

SIDES = ("ours", "eager_padded", "compiled_padded", "compiled_grouped")
_MODEL = flags.DEFINE_enum("model", "vae_transformer", MODELS, "Which model.")
_DIM = flags.DEFINE_integer("dim", 128, "Its dimension.")
_DATA = flags.DEFINE_string("data", "../shared/data", "The folder of the corpora.")
_TOKENIZER = flags.DEFINE_string("tokenizer", "wordpiece", "wordpiece has the paper's 30,522.")
_WHAT = flags.DEFINE_enum("what", "train", ["train", "evaluation"], "What is timed.")
_PRECISION = flags.DEFINE_string("precision", "float32", "Of our side: float32 or bfloat16.")
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Batches that every side is timed on.")
_SIDES = flags.DEFINE_list("sides", list(SIDES), "Which sides; `ours` is always there.")
_JSON = flags.DEFINE_string("json", "", "A file for the results.")
_MEMORY_OF = flags.DEFINE_string("memory_of", "", "Used by the script itself.")

Side = Callable[[dict[str, np.ndarray]], float]  # one pass over a batch; returns its loss


class Race:
    """The parts that all sides share: batches, fresh weights, noise for the first loss."""

    def __init__(self, folder: pathlib.Path):
        config = default_config(_MODEL.value)
        config.data.corpus, config.data.manual_dir = "ptb", _DATA.value
        config.tokenizer.kind = _TOKENIZER.value
        config.model.dim = _DIM.value
        config.train.precision = _PRECISION.value
        validate(config)
        use_compilation_cache(config)
        folder.mkdir(parents=True, exist_ok=True)
        self.parts: Parts = assemble(config, folder)
        self.settings = model_settings(config)
        self.grouped = self.parts.train_batches
        self.plan = make_plan(config, self.grouped.steps_per_epoch)
        self.state = step.init_state(
            self.parts.model, self.plan, jax.random.key(0), self.parts.mesh
        )
        self.params = jax.device_get(self.state.params)

    def padded(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The batch with every row as long as the longest sentence may be."""
        missing = self.parts.config.data.max_len - batch["ids"].shape[1]
        pad = self.parts.tokenizer.pad_id
        ids = np.pad(batch["ids"], ((0, 0), (0, missing)), constant_values=pad)
        return {**batch, "ids": ids}

    def batches(self, count: int) -> list[dict[str, np.ndarray]]:
        """Full batches from the middle of the first epoch on."""
        found, number = [], self.grouped.steps_per_epoch // 2
        while len(found) < count:
            batch = self.grouped.at(number)
            number += 1
            if batch["weight"].all():
                found.append(batch)
        return found

    def ours(self) -> Side:
        model, mesh = self.parts.model, self.parts.mesh
        if _WHAT.value == "evaluation":
            score = jax.jit(self._nelbo)

            def evaluated(batch: dict[str, np.ndarray]) -> float:
                noise = jnp.zeros((len(batch["ids"]), model.latent_dim), jnp.float32)
                return float(score(self.state.params, batch["ids"], noise))

            return evaluated
        train_step = step.make_train_step(self.parts.training_model(), self.plan, mesh)
        key = jax.random.key(1)

        def trained(batch: dict[str, np.ndarray]) -> float:
            arrays = put_batch({k: batch[k] for k in ("ids", "weight")}, mesh)
            self.state, metrics = train_step(self.state, arrays, key)
            return float(metrics.sums.loss)

        return trained

    def _nelbo(self, params: Any, ids: jax.Array, noise: jax.Array) -> jax.Array:
        model, mesh = self.parts.model, self.parts.mesh
        mu, logvar = objective.posterior(model, params, ids)
        z = mu + jnp.exp(0.5 * logvar) * noise
        mask = ids[:, 1:] != model.pad_id
        nll = objective.sentence_nll(model, params, ids, z, mask, mesh)
        kl = objective.gaussian.kl_to_prior(mu, logvar)
        return (jnp.sum(nll) + jnp.sum(kl)) / ids.shape[0]

    def theirs(self, name: str) -> Side:
        import torch

        from benchmarks.torch_models import TextModel

        torch.set_num_threads(os.cpu_count() or 1)
        model = TextModel(self.params, self.settings, self.parts.tokenizer.pad_id)
        compiled = name.startswith("compiled")
        forward = torch.compile(model) if compiled else model
        shape = self.padded if name.endswith("padded") else lambda batch: batch
        # The fastest optimizer that PyTorch has for a CPU goes with `torch.compile`.
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=1e-3, weight_decay=0.1, fused=compiled or None
        )

        def evaluated(batch: dict[str, np.ndarray]) -> float:
            ids = torch.from_numpy(shape(batch)["ids"].astype(np.int64))
            with torch.no_grad():
                noise = torch.zeros(len(ids), self.settings.latent_dim)
                return forward(ids, noise, 1.0).item()

        def trained(batch: dict[str, np.ndarray]) -> float:
            ids = torch.from_numpy(shape(batch)["ids"].astype(np.int64))
            optimizer.zero_grad(set_to_none=True)
            loss = forward(ids, torch.randn(len(ids), self.settings.latent_dim), 1.0)
            loss.backward()
            optimizer.step()
            return loss.item()

        model.train(_WHAT.value == "train")
        return trained if _WHAT.value == "train" else evaluated

    def check_losses(self) -> dict[str, float]:
        """The first loss of both sides, without dropout, with the same noise.

        Raises:
          UserError: they differ by more than 1e-4, so there is nothing to compare.
        """
        import torch

        from benchmarks.torch_models import TextModel

        batch = self.batches(1)[0]
        noise = np.random.default_rng(0).standard_normal((32, self.settings.latent_dim))
        noise = noise.astype(np.float32)
        ours = float(jax.jit(self._nelbo)(self.state.params, batch["ids"], jnp.asarray(noise)))
        model = TextModel(self.params, self.settings, self.parts.tokenizer.pad_id).eval()
        ids = torch.from_numpy(self.padded(batch)["ids"].astype(np.int64))
        with torch.no_grad():
            theirs = model(ids, torch.from_numpy(noise), 1.0).item()
        if _PRECISION.value == "float32" and abs(ours - theirs) > 1e-4 * abs(theirs):
            raise UserError(f"the first losses differ: ours {ours}, PyTorch's {theirs}")
        return {"ours": ours, "torch": theirs}

    def side(self, name: str) -> Side:
        return self.ours() if name == "ours" else self.theirs(name)

    def flops(self, batch: dict[str, np.ndarray]) -> float:
        """Of the matrix products over real tokens; backward takes twice as much as forward."""
        lengths = (batch["ids"][:, 1:] != self.parts.tokenizer.pad_id).sum(1)
        passes = 3 if _WHAT.value == "train" else 1
        return passes * forward_flops(self.params, lengths)


def seconds(once: Side, batch: dict[str, np.ndarray]) -> float:
    """One timed pass after an untimed one."""
    once(batch)
    start = time.perf_counter()
    once(batch)
    return time.perf_counter() - start


def memory_in_a_process(name: str) -> float:
    """The peak of a process that does three passes of one side."""
    same = (_MODEL, _DIM, _DATA, _TOKENIZER, _WHAT, _PRECISION)
    chosen = [f"--{flag.name}={flag.value}" for flag in same]
    return float(last_line_of("benchmarks.train_step", f"--memory_of={name}", *chosen))


def race(folder: pathlib.Path) -> dict[str, Any]:
    """Runs the race and returns its results."""
    names = ["ours", *(name for name in _SIDES.value if name != "ours")]
    shared = Race(folder)
    first = shared.check_losses()
    sides = {name: shared.side(name) for name in names}
    batches = shared.batches(_ROUNDS.value)
    lengths = {batch["ids"].shape[1]: batch for batch in batches}
    for name, once in sides.items():
        began = time.perf_counter()
        for batch in lengths.values():
            once(batch)
        print(f"{name}: compiled in {time.perf_counter() - began:.0f} s", flush=True)
    times: dict[str, list[float]] = {name: [] for name in names}
    shares, rate = [], matmul_rate()
    for number, batch in enumerate(batches):
        for name in names if number % 2 else reversed(names):
            times[name].append(seconds(sides[name], batch))
        shares.append(shared.flops(batch) / times["ours"][-1] / rate)
    ratios = {}
    for name in names[1:]:
        pairs = [t / o for t, o in zip(times[name], times["ours"], strict=True)]
        low, middle, high = statistics.quantiles(pairs, n=4)
        total = sum(times[name]) / sum(times["ours"])
        ratios[name] = {"median": middle, "quarter": low, "three_quarters": high, "total": total}
    return {
        "model": _MODEL.value,
        "dim": _DIM.value,
        "vocab_size": shared.parts.tokenizer.size,
        "what": _WHAT.value,
        "precision": _PRECISION.value,
        "rounds": len(batches),
        "first_loss": first,
        "seconds": {name: statistics.median(times[name]) for name in names},
        "ratios": ratios,
        "matmul_gflops": rate / 1e9,
        "matmul_share": statistics.median(shares),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Prints a table and writes the results."""
    folder = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"vaetx-race-{_TOKENIZER.value}"
    if _MEMORY_OF.value:
        shared = Race(folder)
        once = shared.side(_MEMORY_OF.value)
        for batch in shared.batches(3):
            once(batch)
        print(peak_memory_mb())
        return
    results = race(folder)
    results["peak_memory_mb"] = {n: memory_in_a_process(n) for n in ("ours", *_SIDES.value)}
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
