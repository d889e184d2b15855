"""Parameters to start from that are not random: another run's, or GPT-2's."""

import pathlib

import jax

from vaetx_jax.errors import UserError
from vaetx_jax.models import gpt2
from vaetx_jax.models.presets import ModelSettings
from vaetx_jax.models.text_vae import Variables
from vaetx_jax.run.run import Run, open_run
from vaetx_jax.run.workdir import CHECKPOINTS
from vaetx_jax.training.checkpoint import Checkpoints, choose
from vaetx_jax.training.state import TrainState


def foreign_variables(source: pathlib.Path, run: Run, like: Variables) -> tuple[Variables, int]:
    """The variables of another run at its best checkpoint, and their step.

    Args:
      source: the other run's work folder.
      run: the run that starts.
      like: variables that lie where these shall.

    Raises:
      UserError: the other run has another model or another vocabulary.
    """
    other = open_run(source)
    mine, theirs = run.tokenizer, other.tokenizer
    if mine.fingerprint != theirs.fingerprint:
        raise UserError(
            f"config.train.init_from = {source}: its tokenizer ({theirs.kind}, {theirs.size:,} "
            f"pieces) is not this run's ({mine.kind}, {mine.size:,} pieces); its parameters would "
            "mean other pieces"
        )
    if other.model != run.model:
        raise UserError(
            f"config.train.init_from = {source}: its model has other settings "
            f"(there: {dict(other.config.model)}; here: {dict(run.config.model)})"
        )
    checkpoints = Checkpoints(source / CHECKPOINTS, writable=False)
    step, _ = choose(checkpoints, "best")
    return checkpoints.restore_variables(step, like), step


def pretrained(state: TrainState, settings: ModelSettings) -> tuple[TrainState, str]:
    """The state with GPT-2's published weights in its decoder, where there are any."""
    if not settings.weights:
        words = "starts from random parameters, GPT-2's too: config.model.weights names none"
        return state, words
    folder, fresh = gpt2.find_weights(settings.weights), jax.device_get(state.params)
    params = gpt2.load_weights(folder, fresh, heads=settings.decoder_heads or 1)
    placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), params, state.params)
    return state.with_params(placed), f"starts from GPT-2's weights in {folder}"
