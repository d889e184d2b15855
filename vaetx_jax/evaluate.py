"""`python -m vaetx_jax.evaluate --workdir=DIR --split=test`: all metrics of a trained model.

--data=FILE evaluates on all sentences of a file instead of the corpus, or with --split on that
share of the file; a folder that `export` made of a model of your own text has no corpus and needs
it. The metrics are written to `evaluation-data-FILE.json`. --reference, --iw_samples and --text
replace the settings of these names in the run's `config.evaluation`.
"""

from vaetx_jax.runtime import signals

if __name__ == "__main__":
    signals.exit_immediately()

# isort: split
import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from vaetx_jax import command_line
from vaetx_jax.data.batches import EvalBatches
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.inference import exported
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.reference import reference_nll
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.inference.text_quality import sampled_text, text_quality
from vaetx_jax.metrics import usage
from vaetx_jax.metrics.estimator import Estimates, Estimator
from vaetx_jax.metrics.summary import notes, split_facts, summary, with_samples
from vaetx_jax.reports.text_table import BRIEF, is_full, text_table
from vaetx_jax.run.metric_log import finite_or_none
from vaetx_jax.run.run import on_file
from vaetx_jax.runtime.atomic import check_writable, write_text
from vaetx_jax.runtime.console import Progress
from vaetx_jax.training.state import count_parameters


def evaluate(
    model: TextModel, split_name: str = "test", *, data: str = "", whole: bool = False
) -> tuple[dict[str, Any], Estimates]:
    """Evaluates a model on a split and writes `evaluation-SPLIT.json` and `evaluation.json`.

    The `evaluation.json` of a folder made by `export` is left as it is.

    Args:
      model: the model; `config.evaluation` of its run says how many samples to take, and against
        which language model to measure it.
      split_name: `train`, `valid` or `test`.
      data: a name of sentences that are not the run's corpus: `evaluation-data-NAME.json` alone is
        written.
      whole: whether the split is all of them.

    Returns:
      The fields of `evaluation.json`, and the estimates of every sentence.

    Raises:
      OSError: the folder cannot be written; said before anything is computed.
    """
    run, settings = model.run, model.run.config.evaluation
    path = result_path(run.folder, split_name, data)
    check_writable(path)
    split = run.split(split_name)
    batches = run.eval_batches(split)
    progress = Progress(len(batches))
    estimator = Estimator(run.model, run.mesh, seed=settings.seed)
    estimates = estimator.run(
        model.variables,
        batches,
        sentences=len(split),
        iw_samples=settings.iw_samples,
        progress=lambda done, total: progress.tick(done, f"evaluation of {split_name}"),
    )
    progress.clear()
    measured = summary(estimates, split_facts(split), iw_samples=settings.iw_samples)
    metrics = {
        "split": "all" if whole else split_name,
        **({"data": data} if data else {}),
        "checkpoint": model.step,
        "checkpoint_is": model.source,
        **measured,
        **_usage(model, estimator, batches, estimates, mi=measured["mi"]),
        **_against_reference(model, estimates, split_name, data=data),
        **behind_entropy(estimates, split),
        "corpus": run.config.data.corpus,
        "model": run.config.model.name,
        "tokenizer": run.tokenizer.kind,
        "vocab_size": run.tokenizer.size,
        "parameters": count_parameters(run.model),
        "seed": run.config.seed,
        "text": _text(model, split_name, estimates, training=not data),
    }
    finite = {name: finite_or_none(value) for name, value in metrics.items()}
    if metrics["text"]:
        finite["text"] = {name: finite_or_none(value) for name, value in metrics["text"].items()}
    text = json.dumps(finite, indent=2) + "\n"
    write_text(path, text)
    if not data and not exported.is_shared(run.folder):
        write_text(run.folder / "evaluation.json", text)
    return metrics, estimates


def _usage(
    model: TextModel, estimator: Estimator, batches: EvalBatches, estimates: Estimates, *, mi: Any
) -> dict[str, Any]:
    """The figures that say whether the decoder uses z, null for a language model."""
    if not model.latent_dim:
        return usage.NO_USAGE
    n, nll_other_N = len(estimates.nll_N), None
    if n > 1:
        others_N = usage.other_rows(n, seed=model.run.config.evaluation.seed)
        nll_other_N = estimator.nll_at(model.variables, batches, estimates.z_NxZ[others_N])
    return usage.latent_use(estimates, nll_other_N, mi=mi)


def _against_reference(
    model: TextModel, estimates: Estimates, split_name: str, *, data: str
) -> dict[str, Any]:
    """The comparison with a language model of the run's corpus, null where there is none."""
    reference = None if data else reference_nll(model, split_name)
    if reference is None:
        return usage.NO_REFERENCE
    nll_N, name = reference
    return usage.against_reference(estimates, nll_N) | {"reference": name}


def _text(
    model: TextModel, split_name: str, estimates: Estimates, *, training: bool
) -> dict[str, Any] | None:
    """The metrics of text that the config asks for; None where there are to be none."""
    settings = model.run.config.evaluation
    if settings.text:
        return text_quality(model, split_name, estimates.mu_NxZ, training=training)
    return sampled_text(model, split_name, settings.text_samples) if settings.text_samples else None


def result_path(folder: pathlib.Path, split_name: str, data: str = "") -> pathlib.Path:
    """The file of an evaluation: of a split, or of other sentences by their name."""
    return folder / f"evaluation-{f'data-{data}' if data else split_name}.json"


def behind_entropy(estimates: Estimates, split: TokenizedSplit) -> dict[str, Any]:
    """Compares the best bound with the corpus's own log-probabilities.

    A bound on log p cannot beat the truth on average: `behind_entropy` below minus two standard
    errors proves a bug, and `evaluation_warning` says so.

    Returns:
      In nats per sentence, `entropy` of the corpus, `behind_entropy` (the mean difference of its
      log-probabilities and the bound) and `behind_entropy_se` (its standard error; a single
      sentence has none). Nothing unless the corpus has exact log-probabilities (`grammar`) and no
      sentence was cut.
    """
    if split.log_prob is None or split.cut.any():
        return {}
    difference_N = np.asarray(split.log_prob) - usage.bound(estimates)
    mean, error = usage.mean_and_error(difference_N)
    metrics: dict[str, Any] = {
        "entropy": -float(np.mean(split.log_prob)),
        "behind_entropy": mean,
        "behind_entropy_se": error,
    }
    if error is not None and mean < -2.0 * error:
        metrics["evaluation_warning"] = (
            f"the bound beats the corpus's known entropy by {-mean:.3f} nats per sentence, more "
            f"than two standard errors ({error:.3f}): no model can, so a metric is wrong"
        )
    return metrics


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_string("workdir", None, "The folder of a trained run, or one made by export.")
    flags.DEFINE_enum("split", None, SPLITS, "The split to evaluate on; test by default.")
    flags.DEFINE_string("checkpoint", "best", "The checkpoint to use: best, last or a step.")
    flags.DEFINE_string(
        "reference", None, "A language model to compare with: the folder of its run."
    )
    flags.DEFINE_integer(
        "iw_samples", None, "The number of importance samples, 0 for none.", lower_bound=0
    )
    flags.DEFINE_bool(
        "text", None, "Also evaluate samples and reconstructions as text; takes minutes."
    )
    command_line.define_data()


def main() -> None:
    """The command."""
    folder = pathlib.Path(command_line.require("workdir"))
    split, data = flags.FLAGS.split or "test", command_line.data_name()
    whole = bool(data) and flags.FLAGS.split is None
    model = load(folder, checkpoint=flags.FLAGS.checkpoint)
    for name in ("reference", "iw_samples", "text"):
        if flags.FLAGS[name].value is not None:
            model.run.config.evaluation[name] = flags.FLAGS[name].value
    if data:
        run = on_file(model.run, flags.FLAGS.data, command_line.fields(), whole=whole)
        model = dataclasses.replace(model, run=run)
        data = data if whole else f"{data}-{split}"
    metrics, _ = evaluate(model, split, data=data, whole=whole)
    print_evaluation(metrics)
    print(f"written: {result_path(folder, split, data)}")


_ROWS = (
    ("nll", "nats per sentence", "reconstruction, -log p(x|z), z from the posterior"),
    ("kl", "nats per sentence", "rate: KL of the posterior to the prior"),
    ("ppl_rec", "per token", "reconstruction perplexity (the paper's PPL; falls as KL rises)"),
    ("ppl_elbo", "per token", "upper bound by the ELBO"),
    ("ppl_iw", "per token", "tighter bound by K samples: compare models by this"),
    ("ppl_rec_word", "per word", ""),
    ("ppl_elbo_word", "per word", ""),
    ("ppl_iw_word", "per word", "comparable across tokenizers"),
    ("use", "nats per sentence", "nll with another sentence's z minus nll with its own{use_error}"),
    ("gain", "nats per sentence", "nll of the reference minus nll with z{gain_error}"),
    (
        "behind_lm",
        "nats per sentence",
        "how far the bound is behind the reference{behind_lm_error}",
    ),
    ("marginal_kl", "nats per sentence", "kl - mi: aggregated posterior to prior"),
    ("mi_b32", "nats", "mutual information in batches of 32 (the paper's; at most 3.47)"),
    ("mi", "nats", "mutual information over the split (at most {mi_limit:.2f})"),
    ("au", "units", "active units, of {latent_dim}"),
    ("entropy", "nats per sentence", "entropy of the corpus, known exactly"),
    (
        "behind_entropy",
        "nats per sentence",
        "how far the bound is behind the entropy{behind_entropy_error}",
    ),
)


_WITH_ERROR = ("use", "gain", "behind_lm", "behind_entropy")


def _shown(metrics: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The rows of the table: name, value, unit, meaning."""
    errors = {f"{name}_error": _error(metrics, name) for name in _WITH_ERROR}
    for name, unit, meaning in _ROWS:
        value = metrics.get(name)
        if value is not None:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:z,.2f}"
            label = with_samples(name, metrics["iw_samples"])
            yield label, shown, unit, meaning.format(**metrics, **errors)
    text = metrics.get("text") or {}
    for name, digits, meaning in () if is_full(text) else BRIEF:
        mine, theirs = text.get(name), text.get(f"corpus_{name}")
        if mine is not None and theirs is not None:
            unit = "per sentence" if name == "words" else "share"
            beside = f"{meaning}; corpus: {theirs:.{digits}f}"
            yield name, f"{mine:.{digits}f}", unit, beside


def _error(metrics: dict[str, Any], name: str) -> str:
    error = metrics.get(f"{name}_se")
    return "" if error is None else f" (± {error:.2f})"


def _place(metrics: dict[str, Any]) -> str:
    """The sentences of an evaluation, in words."""
    if "data" in metrics:
        return f"the file {metrics['data']}"
    return f"{metrics['corpus']}, {metrics['split']} split"


def print_evaluation(metrics: dict[str, Any]) -> None:
    """Prints the fields of `evaluation.json` as a table."""
    title = (
        f"{metrics['model']} on {_place(metrics)}, "
        f"step {metrics['checkpoint']:,} ({metrics['checkpoint_is']})"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("meaning")
    for row in _shown(metrics):
        table.add_row(*row)
    counts = (
        f"{metrics['sentences']:,} sentences, {metrics['tokens']:,} tokens, {metrics['words']:,} "
        f"words; {metrics['truncated']:,} cut at the maximum length; "
        f"{metrics['tokenizer']} with a vocabulary of {metrics['vocab_size']:,}; "
        f"{metrics['parameters']:,} parameters"
    )
    table.caption, table.caption_justify = counts, "left"
    console = Console()
    console.print(table)
    if is_full(metrics.get("text")):
        console.print(text_table(metrics["text"]))
    for note in notes(metrics):
        console.print(f"note: {note}")
    if "evaluation_warning" in metrics:
        console.print(f"WARNING: {metrics['evaluation_warning']}", style="bold red")


if __name__ == "__main__":
    command_line.run(main, define_flags)
