"""The page that goes with a model: what it is, what it learnt from, its numbers, how to load it."""

import json
import pathlib
from typing import Any

from vaetx_jax import __version__
from vaetx_jax.parts import Parts
from vaetx_jax.step import count_parameters
from vaetx_jax.workdir import CORPUS

# What each number of an evaluation is, in the order of the card.
KINDS = {
    "nll": "reconstruction, nats a sentence, one z drawn from the posterior",
    "kl": "rate, nats a sentence: KL of the posterior to the prior",
    "ppl_rec": "exp(nll / tokens); falls as the KL rises, so never quote it without",
    "ppl_elbo": "exp((nll + kl) / tokens), an upper bound on perplexity",
    "ppl_iw": "the importance-weighted bound on perplexity, with {iw_samples} samples",
    "ppl_iw_word": "the same a word",
    "mi": "mutual information of sentence and latent, nats; at most {mi_limit}",
    "au": "active latent units of {latent_dim}: variance of the posterior mean above 0.01",
}


def model_card(parts: Parts, evaluation: dict[str, Any] | None, *, step: int, label: str) -> str:
    """Markdown.

    Args:
      evaluation: the fields of `evaluation.json`, None where this checkpoint was not evaluated.
    """
    config, latent = parts.config, parts.model.latent_dim
    name = config.model.name
    lines = [
        f"# {name} on {config.data.corpus}",
        "",
        f"A {'text variational autoencoder' if latent else 'language model'}, made by vaetx_jax "
        f"{__version__}.",
        "",
        "| | |",
        "|---|---|",
        f"| model | `{name}`, preset `{config.model.preset}`, dimension {config.model.dim} |",
        f"| latent | {latent or 'none'} |",
        f"| parameters | {count_parameters(parts.model):,} |",
        f"| tokenizer | `{parts.tokenizer.kind}`, {parts.tokenizer.size:,} pieces |",
        f"| longest sentence | {config.data.max_len} pieces, [CLS] and [SEP] counted |",
        f"| checkpoint | after {step:,} updates ({label}) |",
        "",
        "## Data",
        "",
        *_data(parts),
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
    lines += ["new = model.sample(5)", "```", ""]
    return "\n".join(lines)


def _data(parts: Parts) -> list[str]:
    data = parts.config.data
    lines = [f"Corpus `{data.corpus}`."]
    if data.corpus == "text":
        name = pathlib.PurePath(data.train).name
        lines = [f"The user's own sentences (`{name}`), which are not part of this folder."]
    elif data.corpus == "grammar":
        lines = [f"Built in: {data.sentences:,} sentences of a grammar of known entropy."]
    try:
        kept = json.loads((parts.folder / CORPUS).read_text(encoding="utf-8"))
        lines += ["", f"Fingerprint of its content: `{kept['fingerprint']}`"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a fact the card can do without
    return lines


def _training(config: Any) -> list[str]:
    train, objective = config.train, config.objective
    length = f"{train.steps:,} steps" if train.steps else f"{train.epochs} epochs"
    lines = [
        f"{length} of {config.data.batch_size} sentences, seed {config.seed}, learning rate "
        f"{train.learning_rate:g}, {train.precision}."
    ]
    if config.model.latent_dim:
        lines.append(
            f"Annealing of the KL: {objective.annealing}, {objective.cycles} cycles; free bits "
            f"{objective.free_bits:g} a dimension."
        )
    return lines


def _numbers(evaluation: dict[str, Any] | None) -> list[str]:
    if evaluation is None:
        return ["This checkpoint was not evaluated: `python -m vaetx_jax.evaluate` does that."]
    lines = [
        f"Of the {evaluation['split']} split: {evaluation['sentences']:,} sentences, "
        f"{evaluation['tokens']:,} tokens, {evaluation['truncated']:,} sentences cut.",
        "",
        "| name | value | it is |",
        "|---|---|---|",
    ]
    shown = {k: _figure(v) for k, v in evaluation.items()}
    for name, kind in KINDS.items():
        if evaluation.get(name) is not None:
            lines.append(f"| `{name}` | {shown[name]} | {kind.format(**shown)} |")
    return lines


def _figure(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
