"""`python -m vaetx_jax.export --workdir=DIR --to=FOLDER`: a trained model as a folder to share.

It holds the parameters as safetensors, the config without paths of this machine, the tokenizer, the
evaluation of this checkpoint if there is one, a model card (README.md) and the sha256 of every file
that `vaetx_jax.load(FOLDER)` reads. It holds neither the optimizer's state nor any sentence of the
corpus.
"""

from vaetx_jax.runtime import signals

if __name__ == "__main__":
    signals.exit_immediately()

# isort: split
import functools
import json
import pathlib
from typing import Any

from absl import flags

from vaetx_jax import command_line
from vaetx_jax.config import validation
from vaetx_jax.data.corpora.corpus import SOURCES
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference import exported, hub
from vaetx_jax.inference.exported import CARD, EVALUATION
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.run.run import Run
from vaetx_jax.run.workdir import CORPUS
from vaetx_jax.runtime.atomic import atomic_folder, write_text
from vaetx_jax.runtime.console import counted
from vaetx_jax.runtime.paths import scheme_of
from vaetx_jax.training.state import count_parameters
from vaetx_jax.version import __version__


def export(
    model: TextModel, folder: str | pathlib.Path, *, with_encoder: bool = False
) -> pathlib.Path:
    """Writes a model to a new folder, whole or not at all.

    Args:
      with_encoder: a frozen encoder that the hub has is written, too, and not only named.

    Raises:
      UserError: the folder holds something already, or cannot be made.
    """
    folder = pathlib.Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: this already exists; give a new folder")
    evaluation = _evaluation(model)
    with atomic_folder(folder) as fresh:
        step, source = model.step, model.source
        exported.write(
            fresh,
            model.run,
            model.variables,
            step=step,
            source=source,
            with_encoder=with_encoder,
            prior=model.prior,
        )
        if evaluation is not None:
            write_text(fresh / EVALUATION, json.dumps(evaluation, indent=2) + "\n")
        write_text(fresh / CARD, model_card(model.run, evaluation, step=step, source=source))
    return folder


def _evaluation(model: TextModel) -> dict[str, Any] | None:
    """The evaluation of this very checkpoint, on the test split rather than another."""
    for name in ("evaluation-test.json", EVALUATION):
        try:
            kept = json.loads((model.run.folder / name).read_text(encoding="utf-8"))
            if kept["checkpoint"] == model.step:
                return kept
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """The command's flags."""
    string = functools.partial(flags.DEFINE_string, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    string("workdir", None, "The folder of a trained run.")
    string("checkpoint", "best", "The checkpoint to use: best, last or a step.")
    string("to", None, "The new folder, or a URL of an object store.")
    switch(
        "with_encoder", False, "Also write a frozen encoder that can be downloaded from the hub."
    )
    string("push", None, "USER/NAME: also upload the folder to the Hugging Face hub.")
    switch("private", False, "Make a new repository of --push private.")


def main() -> None:
    """The command."""
    workdir, to = (pathlib.Path(command_line.require(name)) for name in ("workdir", "to"))
    if to.resolve() == workdir.resolve():
        raise ConfigError("--to is --workdir; give a new folder")
    if flags.FLAGS.push:
        hub.check_name(flags.FLAGS.push)  # before anything is written
    model = load(workdir, checkpoint=flags.FLAGS.checkpoint)
    folder = export(model, to, with_encoder=flags.FLAGS.with_encoder)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        print(f"{path.stat().st_size:>12,}  {path}")
    if not (folder / EVALUATION).exists():
        print(
            "note: this checkpoint was not evaluated, so the card has no numbers; "
            f"python -m vaetx_jax.evaluate --workdir={workdir}, then export again"
        )
    if flags.FLAGS.push:
        print(f"uploaded: {hub.push(folder, flags.FLAGS.push, private=flags.FLAGS.private)}")


# The meaning of each number of an evaluation, in the order of the card.
KINDS = {
    "nll": "reconstruction, nats per sentence, one z drawn from the posterior",
    "kl": "rate, nats per sentence: KL of the posterior to the prior",
    "ppl_rec": "exp(nll / tokens per sentence); falls as the KL rises, so never quote it without",
    "ppl_elbo": "exp((nll + kl) / tokens per sentence), an upper bound on perplexity",
    "ppl_iw": "the importance-weighted bound on perplexity, with {iw_samples} samples",
    "ppl_iw_word": "the same per word",
    "use": "nll with another sentence's z minus nll with its own, nats per sentence",
    "gain": "nll of a language model minus nll with z, nats per sentence ({reference})",
    "behind_lm": "the bound's nats per sentence behind that language model",
    "marginal_kl": "kl - mi: KL of the aggregated posterior to the prior, nats per sentence",
    "mi": "mutual information of sentence and latent, nats; at most {mi_limit}",
    "au": "active latent units of {latent_dim}: variance of the posterior mean above 0.01",
}


def model_card(run: Run, evaluation: dict[str, Any] | None, *, step: int, source: str) -> str:
    """A model card in Markdown, with the YAML head that the Hugging Face hub reads.

    Args:
      evaluation: the fields of `evaluation.json`; None where this checkpoint was not evaluated.
    """
    from huggingface_hub import ModelCard  # here, because it is slow to import

    head = _card_data(run, evaluation).to_yaml()
    return str(
        ModelCard("\n".join(["---", head, "---", "", *_body(run, evaluation, step, source)]))
    )


def _card_data(run: Run, evaluation: dict[str, Any] | None) -> Any:
    """The head of the card: only what is known for certain of the model and its corpus."""
    from huggingface_hub import ModelCardData

    corpus, latent = run.config.data.corpus, run.model.latent_dim
    kind = "variational-autoencoder" if latent else "language-model"
    public = SOURCES.get(corpus)
    name = run.config.model.name
    return ModelCardData(
        model_name=f"{name} on {corpus}" if evaluation else None,
        eval_results=_results(evaluation, corpus) if evaluation else None,
        library_name="vaetx_jax",
        tags=[kind, "text-generation", "jax", "flax", run.config.model.name],
        language=None if corpus == "text" else "en",
        license="other" if public else None,
        license_name=f"that of the corpus {corpus}" if public else None,
        license_link=public.homepage if public else None,
    )


def _results(evaluation: dict[str, Any], corpus: str) -> list[Any]:
    """The figures that compare models, as the hub's `EvalResult`."""
    from huggingface_hub import EvalResult

    shown = {name: _format(value) for name, value in evaluation.items()}
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=corpus,
            dataset_name=corpus,
            dataset_split=str(evaluation["split"]),
            metric_type="perplexity" if name.startswith("ppl") else name,
            metric_name=f"{name}: {KINDS[name].format(**shown)}",
            metric_value=round(float(evaluation[name]), 4),
        )
        for name in ("ppl_iw", "ppl_iw_word", "ppl_elbo", "kl", "mi", "use", "behind_lm")
        if evaluation.get(name) is not None
    ]


def _body(run: Run, evaluation: dict[str, Any] | None, step: int, source: str) -> list[str]:
    config, latent = run.config, run.model.latent_dim
    name = config.model.name
    lines = [
        f"# {name} on {config.data.corpus}",
        "",
        f"A {'text variational autoencoder' if latent else 'language model'}, made by vaetx_jax "
        f"{__version__}.",
        "",
        "| | |",
        "|---|---|",
        f"| model | `{name}`, preset `{config.model.preset}`, dimension {run.model.dim} |",
        f"| latent | {latent or 'none'} |",
        f"| parameters | {count_parameters(run.model):,} |",
        f"| tokenizer | `{run.tokenizer.kind}`, {run.tokenizer.size:,} tokens |",
        f"| longest sentence | {config.data.max_len} tokens, [CLS] and [SEP] counted |",
        f"| checkpoint | after {step:,} updates ({source}) |",
        "",
        "## Data",
        "",
        *_data(run),
        "",
        "## Training",
        "",
        *_training(config),
        "",
        "## Numbers",
        "",
        *_numbers(evaluation),
        "",
        "## Use",
        "",
        "```python",
        "import vaetx_jax",
        "",
        'model = vaetx_jax.load("FOLDER")  # this folder; every file is checked by sha256',
    ]
    if latent:
        lines += ['mean, std = model.encode(["a sentence"])', "sentences = model.decode(mean)"]
    return [*lines, "new = model.sample(5)", "```", ""]


def _data(run: Run) -> list[str]:
    data = run.config.data
    lines = [f"Corpus `{data.corpus}`."]
    if data.corpus in SOURCES:
        lines = [f"Corpus `{data.corpus}`; its licence: {SOURCES[data.corpus].licence}"]
    if data.corpus == "text":
        whose = f"Private sentences (`{pathlib.PurePath(data.train).name}`)"
        if scheme_of(data.train):
            whose = f"Sentences of `{data.train}`"
        lines = [f"{whose}, which are not part of this folder."]
    elif data.corpus == "grammar":
        lines = [f"Built in: {data.sentences:,} sentences of a grammar of known entropy."]
    try:
        kept = json.loads((run.folder / CORPUS).read_text(encoding="utf-8"))
        lines += ["", f"Fingerprint of its content: `{kept['fingerprint']}`"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the card is complete without it
    return lines


def _training(config: Any) -> list[str]:
    train, objective = config.train, config.objective
    length = counted(train.steps, "step") if train.steps else counted(train.epochs, "epoch")
    lines = [
        f"{length} of {config.data.batch_size} sentences, seed {config.seed}, learning rate "
        f"{train.learning_rate:g}, {train.precision}."
    ]
    if config.model.latent_dim:
        remedies = validation.objective(config).remedies()
        lines.append(
            f"Annealing of the KL: {objective.annealing}, {objective.cycles} cycles; further in "
            f"the objective: {', '.join(remedies) or 'nothing'}."
        )
    return lines


def _numbers(evaluation: dict[str, Any] | None) -> list[str]:
    if evaluation is None:
        return ["This checkpoint was not evaluated: `python -m vaetx_jax.evaluate` does that."]
    lines = [
        f"Of the {evaluation['split']} split: {evaluation['sentences']:,} sentences, "
        f"{evaluation['tokens']:,} tokens, {evaluation['truncated']:,} sentences cut.",
        "",
        "| name | value | meaning |",
        "|---|---|---|",
    ]
    shown = {k: _format(v) for k, v in evaluation.items()}
    for name, kind in KINDS.items():
        if evaluation.get(name) is not None:
            lines.append(f"| `{name}` | {shown[name]} | {kind.format(**shown)} |")
    return lines


def _format(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    command_line.run(main, define_flags)
