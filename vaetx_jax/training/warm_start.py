"""The parameters that a run starts from: random ones, another run's, or GPT-2's."""

import pathlib

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from vaetx_jax.config.validation import model_settings
from vaetx_jax.errors import UserError
from vaetx_jax.models import gpt2
from vaetx_jax.models.language_model import PARAMS, Variables
from vaetx_jax.models.presets import ModelSettings
from vaetx_jax.run.run import Run, open_run
from vaetx_jax.run.workdir import CHECKPOINTS
from vaetx_jax.training.checkpoint import Checkpoints, choose
from vaetx_jax.training.phases import DECODER, ENCODER
from vaetx_jax.training.starts import from_corpus, replace, with_latent_output
from vaetx_jax.training.state import TrainState, variables_like
from vaetx_jax.training.statistics import SplitStatistics


def initialise(run: Run, state: TrainState) -> tuple[TrainState, str]:
    """The first state of a run, and a phrase that says where its parameters come from.

    Args:
      run: the run; its config may name parameters to start from.
      state: a state with random parameters.

    Raises:
      UserError: the config names a run whose parameters do not fit.
    """
    config = run.config
    variables = from_corpus(run, state.variables)
    if variables is not state.variables:
        state = state._replace(variables=variables)
    state, encoder = _load_encoder(run, state)
    state, phrase = load_named(run, state)
    phrase = f"{phrase}, {encoder}" if encoder else phrase
    if not (config.train.init_from and config.train.init_parts == "all"):
        variables = with_latent_output(run, state.variables)
        if variables is not state.variables:
            state = state._replace(variables=variables)
    statistics = SplitStatistics.of(run)
    if statistics:
        state = state._replace(variables=statistics.updated(state.variables))
    return state, phrase


def load_named(run: Run, state: TrainState) -> tuple[TrainState, str]:
    """The state with the parameters that the config names, if any, and a phrase for them.

    They are another run's (`train.init_from`), or the decoder's published ones.

    Raises:
      UserError: they are not here, or do not fit.
    """
    config = run.config
    if config.train.init_from:
        source, parts = pathlib.Path(config.train.init_from), config.train.init_parts
        if parts == "all":
            variables, step = _load_run(source, run, state.variables)
            return state._replace(variables=variables), f"starts from {source}, step {step:,}"
        variables, step = _load_parts(source, run, state.variables, parts)
        phrase = f"starts from the {parts} of {source}, step {step:,}, and random parameters"
        return state._replace(variables=variables), phrase
    settings = model_settings(config)
    if settings.weights is not None:
        return _load_pretrained(run, state, settings)
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
    other = _open_source(source, run)
    if other.model != run.model:
        raise UserError(
            f"config.train.init_from = {source}: its model has other settings "
            f"(there: {dict(other.config.model)}; here: {dict(run.config.model)}); "
            "config.train.init_parts takes what fits"
        )
    checkpoints = Checkpoints(source / CHECKPOINTS, writable=False)
    step, _ = choose(checkpoints, "best")
    return checkpoints.restore_variables(step, like), step


def _load_parts(
    source: pathlib.Path, run: Run, like: Variables, parts: str
) -> tuple[Variables, int]:
    """The variables with a part of another run's at its best checkpoint, and their step.

    Raises:
      UserError: it has another vocabulary, or a leaf of the part is missing or of another shape.
    """
    other = _open_source(source, run)
    checkpoints = Checkpoints(source / CHECKPOINTS, writable=False)
    step, _ = choose(checkpoints, "best")
    theirs = checkpoints.restore_variables(step, variables_like(other.model, run.mesh))
    taken = take_part(like, theirs, parts, source=f"config.train.init_from = {source}")
    return taken, step


def take_part(mine: Variables, theirs: Variables, part: str, *, source: str) -> Variables:
    """Variables with a part of others in them.

    What either model has for its latent alone, between encoder and decoder, may be missing in the
    other: a language model's decoder fits a text VAE's.

    Args:
      part: encoder (with the posterior's layers), decoder (with the output layer) or embeddings.
      source: starts the message of an error.

    Raises:
      UserError: a leaf of the part does not fit; the message names it.
    """
    flat_mine, flat_theirs = flatten_dict(mine), flatten_dict(theirs)
    wanted = {path for path in flat_mine if _is_of(path, part)}
    given = {path for path in flat_theirs if _is_of(path, part)}
    lone = {path for path in wanted ^ given if not _LATENT_PATHS.intersection(path)}
    for path in sorted(lone):
        where = "the other model" if path in wanted else "this model"
        raise UserError(f"{source}: {where} has no {'.'.join(path)}, so the {part} does not fit")
    for path in sorted(wanted & given):
        here, there = flat_mine[path].shape, flat_theirs[path].shape
        if here != there:
            raise UserError(
                f"{source}: {'.'.join(path)} has the shape {list(there)} there and {list(here)} "
                f"here, so the {part} does not fit"
            )
    if not wanted & given:
        raise UserError(f"{source}: the two models have no {part} in common")
    new = {path: np.asarray(flat_theirs[path]) for path in wanted & given}
    return replace(mine, new)


# Modules that lead the latent into a decoder.
_LATENT_PATHS = {
    "project",
    "prefix_key",
    "prefix_value",
    "latent_attention",
    "latent_residual",
    "output_projection",
}


def _is_of(path: tuple[str, ...], part: str) -> bool:
    """Whether a leaf of the variables belongs to a part."""
    if part == "embeddings":
        return path[0] == PARAMS and "embedding" in path
    if path[0] != PARAMS:
        return part == "encoder"  # statistics are all of the encoder
    return path[1] in (ENCODER if part == "encoder" else (*DECODER, "output_projection"))


def _open_source(source: pathlib.Path, run: Run) -> Run:
    """The run that another starts from.

    Raises:
      UserError: it has another vocabulary.
    """
    other = open_run(source)
    mine, theirs = run.tokenizer, other.tokenizer
    if mine.fingerprint != theirs.fingerprint:
        raise UserError(
            f"config.train.init_from = {source}: its tokenizer ({theirs.kind}, {theirs.size:,} "
            f"tokens) is not this run's ({mine.kind}, {mine.size:,} tokens); its parameters would "
            "stand for other tokens"
        )
    return other


def _load_encoder(run: Run, state: TrainState) -> tuple[TrainState, str]:
    """The state with the published encoder that the run has, and a phrase for it."""
    if run.encoder is None:
        return state, ""
    new = {(PARAMS, "encoder", *path): x for path, x in flatten_dict(run.encoder.load()).items()}
    variables = replace(state.variables, new)
    return state._replace(variables=variables), f"the encoder from {run.encoder.name}"


def _load_pretrained(
    run: Run, state: TrainState, settings: ModelSettings
) -> tuple[TrainState, str]:
    """The state with GPT-2's published weights in its decoder, where there are any."""
    if not settings.weights:
        words = "starts from random parameters, GPT-2's too: config.model.weights names none"
        return state, words
    folder, fresh = gpt2.find_weights(settings.weights), jax.device_get(state.params)
    heads = run.decoder.heads if run.decoder else 0
    params = gpt2.load_weights(folder, fresh, heads=heads)
    placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), params, state.params)
    return state.with_params(placed), f"starts from GPT-2's weights in {folder}"
