"""Every model on every real corpus for a few steps: trains, saves, loads, evaluates, goes on.

    python -m tests.scripts.every_model --data=../shared/data --workdir=DIR [--only='ptb-*']

Not a test for pytest: it takes some half an hour on two cores and 6 GB of disk. At dimension 128
each model trains four steps on each corpus, then the two largest sizes of Table 8 (and GPT-2 small)
two steps on PTB. Each run is evaluated on the first sentences of its test split, loaded from its
folder; then its last checkpoint is taken away, the run goes on from the one before, and must come
to the same parameters and the same metrics, bit for bit. The exit status is 1 where one does not.
"""

import argparse
import dataclasses
import fnmatch
import hashlib
import math
import pathlib
import resource
import shutil
import sys
import time
import traceback

import jax
import numpy as np
from absl import logging

from tests.helpers.metric_rows import steady_rows
from vaetx_jax import paper
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.stored import cache_dir
from vaetx_jax.config.validation import validate
from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.evaluate import evaluate
from vaetx_jax.inference.loading import load
from vaetx_jax.models.presets import MODELS, has_latent
from vaetx_jax.run import workdir
from vaetx_jax.run.run import Run, create_run
from vaetx_jax.runtime.compilation_cache import use_compilation_cache
from vaetx_jax.training.trainer import Trainer

LATENT_FIGURES = ("kl", "mi_b32", "mi", "mi_limit", "au")
SMALL_GPT2 = {"dim": 64, "decoder_layers": 2, "decoder_heads": 4, "heads": 2}


class FewSentences(Run):
    """A run whose held-out splits are cut to their first sentences."""

    def split(self, name: str) -> TokenizedSplit:
        whole, count = super().split(name), 64
        if name == "train" or len(whole) <= count:
            return whole
        return TokenizedSplit(
            tokens=whole.tokens[: whole.offsets[count]],
            offsets=whole.offsets[: count + 1],
            words=whole.words[:count],
            cut=whole.cut[:count],
            labels={field: values[:count] for field, values in whole.labels.items()},
            label_fields=whole.label_fields,
        )


def few(run: Run) -> Run:
    return FewSentences(run.config, run.folder, run.tokenizer, run.model, run.mesh)


def run_config(corpus: str, model: str, dim: int, data: str):
    config = default_config(model)
    config.data.corpus, config.data.manual_dir = corpus, data
    config.data.max_len = paper.MAX_LEN[corpus]
    config.data.groups = 2  # little to compile
    config.model.dim = dim
    if model == "vae_gpt2" and dim != 768:
        config.model.update(SMALL_GPT2)
    if model == "vae_bert":
        config.model.encoder_weights = f"{data}/minilm"
    large = dim > 128
    config.train.steps, config.train.checkpoint_every = (2, 1) if large else (4, 2)
    config.train.log_every, config.objective.cycles = 1, 1
    config.evaluation.iw_samples = 2
    validate(config)
    use_compilation_cache(cache_dir(config))
    return config


def train(config, folder: pathlib.Path) -> tuple[str, list, str]:
    """(sha256 of the parameters at the end, metrics without speeds, where it started)."""
    with workdir.claim(folder):
        workdir.keep_config(folder, config)
        trainer = Trainer(few(create_run(config, folder)))
        state, words = trainer.start_state()
        outcome = trainer.run(state)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(outcome.variables):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest(), steady_rows(folder), words


def write_final_report(folder: pathlib.Path, model: str) -> dict:
    """The figures of the saved model, measured twice from its folder; says what is wrong."""
    figures = []
    for _ in range(2):
        loaded = load(folder)
        held = dataclasses.replace(loaded, run=few(loaded.run))
        figures.append(evaluate(held, "test")[0])
    first, second = figures
    assert first == second, "two evaluations of one checkpoint differ"
    assert math.isfinite(first["ppl_elbo"]), "ppl_elbo is not finite"
    for name in LATENT_FIGURES:
        assert (first[name] is None) != has_latent(model), f"{name} = {first[name]}"
    return first


def check(corpus: str, model: str, dim: int, data: str, folder: pathlib.Path) -> str:
    """One line on a run that did all it should; AssertionError where it did not."""
    config, began = run_config(corpus, model, dim, data), time.monotonic()
    before, metrics, _ = train(config, folder)
    figures = write_final_report(folder, model)
    shutil.rmtree(folder / "checkpoints" / str(config.train.steps))
    after, again, words = train(config, folder)
    middle = config.train.checkpoint_every
    assert words == f"resumes after step {middle}", words
    assert before == after, "the parameters differ after going on"
    assert metrics == again, "the metrics differ after going on"
    losses = [row["train/loss"] for row in metrics if "train/loss" in row]
    kl = "-" if figures["kl"] is None else f"{figures['kl']:.2f}"
    return (
        f"{figures['parameters']:>12,} parameters  loss {losses[0]:8.2f} -> {losses[-1]:8.2f}  "
        f"ppl_elbo {figures['ppl_elbo']:10.1f}  kl {kl:>6}  {time.monotonic() - began:5.0f} s"
    )


def main() -> int:
    logging.set_verbosity(logging.ERROR)  # orbax logs its every step
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="../shared/data", help="the folder of the corpora")
    parser.add_argument("--workdir", required=True, type=pathlib.Path)
    parser.add_argument("--only", default="*", help="a pattern of CORPUS-MODEL-DIM")
    options = parser.parse_args()
    runs = [(corpus, model, 128) for corpus in paper.MAX_LEN for model in MODELS]
    runs += [("ptb", model, 768 if model == "vae_gpt2" else 1024) for model in MODELS]
    failed = 0
    for corpus, model, dim in runs:
        name = f"{corpus}-{model}-{dim}"
        if not fnmatch.fnmatch(name, options.only):
            continue
        folder = options.workdir / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            words = check(corpus, model, dim, options.data, folder)
        except Exception:
            traceback.print_exc()
            words, failed = "FAILED", failed + 1
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name:32} {words}  (peak so far {peak:.1f} GiB)", flush=True)
    print(f"{failed} of {len(runs)} failed" if failed else "all of them go on bit for bit")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
