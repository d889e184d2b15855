"""The language model that a VAE is measured against: `evaluation.reference`, or the run's own."""

import json
import pathlib

import jax
import numpy as np

from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.models.presets import has_latent
from vaetx_jax.run.run import Run, open_run
from vaetx_jax.run.workdir import CORPUS
from vaetx_jax.runtime.console import notify
from vaetx_jax.training.language_model import kept_nll

OWN = "own language model, at the end of its phase"


def reference_nll(model: TextModel, split: str) -> tuple[np.ndarray, str] | None:
    """-log p(x) of each sentence of a split under the reference, [N] nats, and what that is.

    The reference is the language model in the folder `evaluation.reference`. Where none is named,
    a run with `train.warm_up=language_model` has its own: the decoder at the end of that phase, on
    the validation and the test split.

    Returns:
      None where there is no reference, and for a language model.

    Raises:
      ConfigError: the folder's model is no language model, or of another tokenizer or corpus.
    """
    run = model.run
    if not model.latent_dim:
        return None
    named = run.config.evaluation.reference
    if not named:
        if run.config.train.warm_up != "language_model":
            return None
        own_N = kept_nll(run, split)
        return None if own_N is None else (own_N, OWN)
    check_reference(run)
    if jax.process_count() > 1:
        notify("note: gain and behind_lm are left out; evaluate again in one process to have them")
        return None
    other, batches = load(named), run.eval_batches(run.split(split))
    estimates = Estimator(other.run.model, run.mesh, seed=0).run(
        other.variables, batches, sentences=len(run.split(split))
    )
    name = other.run.config.model.name
    return estimates.nll_N, f"{name}, step {other.step:,} ({other.source})"


def open_reference(run: Run) -> TextModel | None:
    """The language model that `evaluation.reference` names; None: it names none.

    Raises:
      ConfigError: the folder's model is no language model, or of another tokenizer or corpus.
    """
    check_reference(run)
    named = run.config.evaluation.reference
    return load(named) if named and has_latent(run.config.model.name) else None


def check_reference(run: Run) -> None:
    """Checks that the folder `evaluation.reference` fits a run, before the run is trained.

    Raises:
      ConfigError: what is wrong with the folder.
    """
    named = run.config.evaluation.reference
    if not named or not has_latent(run.config.model.name):
        return
    folder = pathlib.Path(named).expanduser()
    where = f"config.evaluation.reference = {named}"
    try:
        other = open_run(folder)
    except UserError as error:
        raise ConfigError(f"{where}: {error}") from error
    name = other.config.model.name
    if has_latent(name):
        raise ConfigError(f"{where}: {name} is not a language model; name a run of a *_lm model")
    mine, theirs = run.tokenizer, other.tokenizer
    if mine.fingerprint != theirs.fingerprint:
        raise ConfigError(
            f"{where}: its tokenizer ({theirs.kind}, {theirs.size:,} tokens) is not this run's "
            f"({mine.kind}, {mine.size:,} tokens), so their nats are of different tokens; train "
            "it with this run's config.tokenizer and config.data"
        )
    if _corpus_of(folder, where) != run.corpus.fingerprint:
        raise ConfigError(
            f"{where}: it was trained on another corpus ({other.config.data.corpus}) or on other "
            f"rows of it; train it with this run's config.data ({run.corpus.name})"
        )
    if other.config.data.max_len < run.config.data.max_len:
        raise ConfigError(
            f"{where}: it was trained with data.max_len = {other.config.data.max_len}, and this "
            f"run's sentences have up to {run.config.data.max_len} tokens"
        )


def _corpus_of(folder: pathlib.Path, where: str) -> str:
    """The fingerprint of the corpus that a model was trained on.

    Raises:
      ConfigError: the folder does not say.
    """
    try:
        return str(json.loads((folder / CORPUS).read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{where}: its {CORPUS} is missing or damaged, so its corpus is not known; name the "
            "folder of the run, or export it again"
        ) from None
