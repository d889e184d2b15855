"""`python -m vaetx_jax.evaluate --workdir=DIR --split=test`: every number of a trained model."""

from vaetx_jax.runtime import signals

if __name__ == "__main__":
    signals.exit_immediately()

# isort: split
import json
import math
import pathlib
from typing import Any

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from vaetx_jax import command_line
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.inference.text_model import TextModel, load
from vaetx_jax.metrics.estimator import Estimates, Estimator
from vaetx_jax.metrics.summary import split_facts, summary
from vaetx_jax.run.metric_log import finite_or_none
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.console import Progress
from vaetx_jax.training.state import count_parameters


def evaluate(model: TextModel, split_name: str = "test") -> tuple[dict[str, Any], Estimates]:
    """Measures a model on a split and writes `evaluation-SPLIT.json` and `evaluation.json`.

    Returns:
      The fields of `evaluation.json`, and the figures of every sentence.
    """
    run, settings = model.run, model.run.config.evaluation
    split = run.split(split_name)
    batches = run.eval_batches(split)
    progress = Progress(len(batches))
    estimates = Estimator(run.model, run.mesh, seed=settings.seed).run(
        model.variables,
        batches,
        sentences=len(split),
        iw_samples=settings.iw_samples,
        progress=lambda done, total: progress.tick(done, f"evaluation of {split_name}"),
    )
    progress.clear()
    figures = {
        "split": split_name,
        "checkpoint": model.step,
        "checkpoint_is": model.label,
        **summary(estimates, split_facts(split), iw_samples=settings.iw_samples),
        **behind_entropy(estimates, split),
        "corpus": run.config.data.corpus,
        "model": run.config.model.name,
        "tokenizer": run.tokenizer.kind,
        "vocab_size": run.tokenizer.size,
        "parameters": count_parameters(run.model),
        "seed": run.config.seed,
    }
    text = json.dumps({k: finite_or_none(v) for k, v in figures.items()}, indent=2) + "\n"
    write_text(run.folder / f"evaluation-{split_name}.json", text)
    write_text(run.folder / "evaluation.json", text)
    return figures, estimates


def behind_entropy(estimates: Estimates, split: TokenizedSplit) -> dict[str, Any]:
    """How far the best bound stays behind the corpus's own log-probabilities, nats a sentence.

    Only for a corpus whose rows carry their exact log-probability (`grammar`) and no sentence of
    which was cut. `behind_entropy_se` is the standard error of the mean paired difference. A bound
    on log p cannot beat the truth on average: `behind_entropy` below minus two standard errors
    proves a bug, and `evaluation_warning` says so.
    """
    if split.log_prob is None or split.cut.any():
        return {}
    bound_N = -(estimates.nll_N + estimates.kl_N) if estimates.iw_N is None else estimates.iw_N
    difference_N = np.asarray(split.log_prob) - bound_N
    mean = float(np.mean(difference_N))
    error = float(np.std(difference_N, ddof=1) / math.sqrt(len(difference_N)))
    figures: dict[str, Any] = {
        "entropy": -float(np.mean(split.log_prob)),
        "behind_entropy": mean,
        "behind_entropy_se": error,
    }
    if mean < -2.0 * error:
        figures["evaluation_warning"] = (
            f"the bound beats the corpus's known entropy by {-mean:.3f} nats a sentence, more than "
            f"two standard errors ({error:.3f}): no model can, so a figure is wrong"
        )
    return figures


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_string("workdir", None, "The folder of a trained run.")
    flags.DEFINE_enum("split", "test", SPLITS, "What to measure on.")
    flags.DEFINE_string("checkpoint", "best", "best, last or a step.")


def main() -> None:
    """The command."""
    folder = pathlib.Path(command_line.require("workdir"))
    split = flags.FLAGS.split
    figures, _ = evaluate(load(folder, checkpoint=flags.FLAGS.checkpoint), split)
    print_evaluation(figures)
    print(f"written: {folder / f'evaluation-{split}.json'}")


_ROWS = (
    ("nll", "nats a sentence", "reconstruction, -log p(x|z), z from the posterior"),
    ("kl", "nats a sentence", "rate: KL of the posterior to the prior"),
    ("ppl_rec", "a piece", "reconstruction perplexity (the paper's PPL; falls as KL rises)"),
    ("ppl_elbo", "a piece", "upper bound by the ELBO"),
    ("ppl_iw", "a piece", "tighter bound, {iw_samples} samples: compare models by this"),
    ("ppl_rec_word", "a word", ""),
    ("ppl_elbo_word", "a word", ""),
    ("ppl_iw_word", "a word", "comparable across tokenizers"),
    ("mi_b32", "nats", "mutual information in batches of 32 (the paper's; at most 3.47)"),
    ("mi", "nats", "mutual information over the split (at most {mi_limit:.2f})"),
    ("au", "units", "active of {latent_dim}"),
    ("entropy", "nats a sentence", "of the corpus itself, known exactly"),
    (
        "behind_entropy",
        "nats a sentence",
        "the bound behind it (± {behind_entropy_se:.2f})",
    ),
)


def print_evaluation(figures: dict[str, Any]) -> None:
    """The figures of an evaluation as a table on the screen."""
    title = (
        f"{figures['model']} on {figures['corpus']}, {figures['split']} split, "
        f"step {figures['checkpoint']:,} ({figures['checkpoint_is']})"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("what it is")
    for name, unit, meaning in _ROWS:
        value = figures.get(name)
        if value is not None:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
            table.add_row(name, shown, unit, meaning.format(**figures))
    counts = (
        f"{figures['sentences']:,} sentences, {figures['tokens']:,} pieces, {figures['words']:,} "
        f"words; {figures['truncated']:,} cut at the maximum length; "
        f"{figures['tokenizer']} with {figures['vocab_size']:,} pieces; "
        f"{figures['parameters']:,} parameters"
    )
    table.caption, table.caption_justify = counts, "left"
    console = Console()
    console.print(table)
    if "evaluation_warning" in figures:
        console.print(f"WARNING: {figures['evaluation_warning']}", style="bold red")


if __name__ == "__main__":
    command_line.run(main, define_flags)
