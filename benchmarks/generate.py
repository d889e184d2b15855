"""Encoding, greedy decoding and sampling of ours beside PyTorch's, on the Penn Treebank.

    python -m benchmarks.generate --results=results/speed

The VAE-Transformer (dimension 128, V = 30,522 by `wordpiece`) with fresh weights whose [SEP] is
never said, so that every sentence is 30 tokens long. Encoding is from strings to posterior means
(tokenising included), decoding from latents to strings; of many at once, and of one alone. PyTorch
is there twice, eager and under `torch.compile`, with keys and values kept, at the batch size that
is fastest for it. Each side is a process of its own, which is idle while another has its turn.
Before anything is timed all sides must give the same means (to 1e-4) and, but for ties, the same
sentences. A ratio is the time of PyTorch's faster side over ours: above 1 we are faster. None is
given where others kept the processor busy (`--others`). Needs `pip install 'vaetx-jax[bench]'`.
"""

import json
import pathlib
import statistics
import tempfile
import time
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import processor
from benchmarks.generate_sides import TASKS
from benchmarks.process import Side, run
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import validate
from vaetx_jax.errors import UserError
from vaetx_jax.inference.exported import named_leaves, write
from vaetx_jax.models import text_vae
from vaetx_jax.run.run import create_run

SIDES = ("ours", "eager", "compiled")
LEAST_ROUNDS, TASK_SECONDS = 2, 30  # a task that takes longer has fewer rounds, but these
_DATA = flags.DEFINE_string("data", "../shared/data", "The folder of the corpora.")
_SIDES = flags.DEFINE_list("sides", list(SIDES), "Which sides; `ours` is always there.")
_ROUNDS = flags.DEFINE_integer(
    "rounds", 7, "How often every side does each task.", lower_bound=LEAST_ROUNDS
)
_OTHERS = flags.DEFINE_float("others", 0.1, "The share of the processor that others may take.")
_RESULTS = flags.DEFINE_string("results", "", "A folder for the results, a file per processor.")


def prepare(folder: pathlib.Path) -> None:
    """A model and sentences that all sides read."""
    config = default_config()
    config.data.corpus, config.data.manual_dir = "ptb", _DATA.value
    config.tokenizer.kind = "wordpiece"
    validate(config)
    run = create_run(config, folder)
    variables = jax.device_get(text_vae.init(run.model, jax.random.key(0)))
    bias_V = np.array(variables["params"]["output_layer"]["bias"])
    bias_V[run.tokenizer.sep_id] = -1e6
    variables["params"]["output_layer"]["bias"] = bias_V
    (folder / "model").mkdir()
    write(folder / "model", run, variables, step=0, source="untrained")
    leaves = named_leaves(variables).items()
    np.savez(folder / "params.npz", **{name.replace(".", "/"): leaf for name, leaf in leaves})
    texts = [row.text for row in run.corpus.split("test")]
    (folder / "sentences.json").write_text(json.dumps(texts))


def check(sides: list[Side]) -> None:
    """Refuses to compare what does not compute the same.

    Raises:
      UserError: means or sentences differ.
    """
    first, *others = (json.loads(side.ask("check")) for side in sides)
    for other in others:
        apart = np.max(np.abs(np.subtract(first["means"], other["means"])))
        same = np.mean([a == b for a, b in zip(first["said"], other["said"], strict=True)])
        if apart > 1e-4 or same < 0.9:
            raise UserError(f"means {apart:.1e} apart, {same:.0%} of the sentences the same")


def compare(folder: pathlib.Path) -> dict[str, Any]:
    """Runs all sides in turns and returns the results."""
    names = ["ours", *(name for name in _SIDES.value if name != "ours")]
    sides = [Side("benchmarks.generate_sides", folder, name) for name in names]
    check(sides)
    tasks: dict[str, Any] = {}
    for task, size in TASKS.items():
        batches = {side.name: side.ask(f"warm {task}") for side in sides}
        load = processor.OthersLoad(side.pid for side in sides)
        times: dict[str, list[float]] = {name: [] for name in names}
        began = time.monotonic()
        for number in range(_ROUNDS.value):
            if number >= LEAST_ROUNDS and time.monotonic() - began > TASK_SECONDS:
                break
            for side in sides if number % 2 else reversed(sides):
                times[side.name].append(float(side.ask(task)))
        others = load.share()
        seconds = {name: statistics.median(values) for name, values in times.items()}
        fastest = min(names[1:], key=lambda name: seconds[name], default="")
        result = {
            "sentences": size,
            "seconds": seconds,
            "rounds": len(times["ours"]),
            "batches": batches,
            "others": others,
            "against": fastest,
            "ratio": None,
        }
        if fastest and others <= _OTHERS.value:
            pairs = zip(times[fastest], times["ours"], strict=True)
            low, middle, high = statistics.quantiles([t / o for t, o in pairs], n=4)
            result |= {"ratio": middle, "quarter": low, "three_quarters": high}
        tasks[task] = result
        print(_row(task, result), flush=True)
    return {"processor": processor.describe(), "tasks": tasks}


def _row(task: str, result: dict[str, Any]) -> str:
    size, seconds = result["sentences"], result["seconds"]
    shown = "  ".join(
        f"{name} {1000 * s:8.2f} ms" if size == 1 else f"{name} {size / s:8,.0f} a second"
        for name, s in seconds.items()
    )
    if result["ratio"] is not None:
        spread = f"({result['quarter']:.2f} to {result['three_quarters']:.2f})"
        return f"{task:11} {shown}  {result['ratio']:.2f}x {result['against']} {spread}"
    if not result["against"]:
        return f"{task:11} {shown}"
    return f"{task:11} {shown}  no ratio: others took {result['others']:.0%} of the processor"


def main() -> None:
    """Prints all sides and writes the results."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(pathlib.Path(folder))
        results = compare(pathlib.Path(folder))
    if _RESULTS.value:
        name = f"generate-{processor.slug(results['processor'])}.json"
        path = pathlib.Path(_RESULTS.value) / name
        path.write_text(json.dumps(results, indent=2) + "\n")
        print(f"written: {path}")


if __name__ == "__main__":
    run(main)
