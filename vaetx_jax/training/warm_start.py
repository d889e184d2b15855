"""The parameters that a run starts from: random ones, another run's, or GPT-2's."""

import pathlib

import jax

from vaetx_jax.config.validation import model_settings
from vaetx_jax.errors import UserError
from vaetx_jax.models import gpt2
from vaetx_jax.models.presets import ModelSettings
from vaetx_jax.models.text_vae import Variables
from vaetx_jax.run.run import Run, open_run
from vaetx_jax.run.workdir import CHECKPOINTS
from vaetx_jax.training.checkpoint import Checkpoints, choose
from vaetx_jax.training.state import TrainState


def initialise(run: Run, state: TrainState) -> tuple[TrainState, str]:
    """The first state of a run, and a phrase that says where its parameters come from.

    Args:
      run: the run; its config may name parameters to start from.
      state: a state with random parameters.

    Raises:
      UserError: the config names a run with another model or another vocabulary.
    """
    config = run.config
    if config.train.init_from:
        source = pathlib.Path(config.train.init_from)
        variables, step = _load_run(source, run, state.variables)
        return state._replace(variables=variables), f"starts from {source}, step {step:,}"
    settings = model_settings(config)
    if settings.weights is not None:
        return _load_pretrained(state, settings)
    return state, "starts from random parameters"


def _load_run(source: pathlib.Path, run: Run, like: Variables) -> tuple[Variables, int]:
    """The variables of another run at its best checkpoint, and their step.

    Args:
      source: the other run's work folder.
      run: the run that starts.
      like: variables on the devices where these are to be.

    Raises:
      UserError: the other run has another model or another vocabulary.
    """
    other = open_run(source)
    mine, theirs = run.tokenizer, other.tokenizer
    if mine.fingerprint != theirs.fingerprint:
        raise UserError(
            f"config.train.init_from = {source}: its tokenizer ({theirs.kind}, {theirs.size:,} "
            f"tokens) is not this run's ({mine.kind}, {mine.size:,} tokens); its parameters would "
            "stand for other tokens"
        )
    if other.model != run.model:
        raise UserError(
            f"config.train.init_from = {source}: its model has other settings "
            f"(there: {dict(other.config.model)}; here: {dict(run.config.model)})"
        )
    checkpoints = Checkpoints(source / CHECKPOINTS, writable=False)
    step, _ = choose(checkpoints, "best")
    return checkpoints.restore_variables(step, like), step


def _load_pretrained(state: TrainState, settings: ModelSettings) -> tuple[TrainState, str]:
    """The state with GPT-2's published weights in its decoder, where there are any."""
    if not settings.weights:
        words = "starts from random parameters, GPT-2's too: config.model.weights names none"
        return state, words
    folder, fresh = gpt2.find_weights(settings.weights), jax.device_get(state.params)
    params = gpt2.load_weights(folder, fresh, heads=settings.decoder_heads or 1)
    placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), params, state.params)
    return state.with_params(placed), f"starts from GPT-2's weights in {folder}"
