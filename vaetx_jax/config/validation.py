"""Every rule of a config, checked at once."""

import math
from typing import Any

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import NONFINITE, PRECISIONS, PROBE_FITS, PROBE_LATENTS
from vaetx_jax.config.keys import choices, flatten, value_of
from vaetx_jax.data.corpora.corpus import CORPORA
from vaetx_jax.data.tokenizers.base import KINDS as TOKENIZERS
from vaetx_jax.errors import ConfigError
from vaetx_jax.losses.annealing import ANNEALINGS
from vaetx_jax.models.presets import (
    DECAY,
    MODELS,
    POSITIONS,
    PRESET_FIELDS,
    PRESETS,
    ModelSettings,
    has_latent,
)


def validate(config: ConfigDict) -> None:
    """Checks every rule of a config and tells all that is wrong at once.

    Raises:
      ConfigError: one line for each broken rule: the key, its value, what it may be.
    """
    if "data" not in config:
        raise ConfigError("--config: this is not the config of a run; those are in configs/")
    problems: list[str] = []

    def rule(key: str, holds: bool, must: str) -> None:
        if not holds:
            problems.append(f"config.{key} = {value_of(config, key)!r}: {must}")

    def one_of(key: str, names: tuple[str, ...]) -> None:
        name = value_of(config, key)
        rule(key, name in names, choices(name, names))

    one_of("data.corpus", CORPORA)
    one_of("data.batching", ("groups", "pad"))
    one_of("tokenizer.kind", TOKENIZERS)
    one_of("model.name", MODELS)
    one_of("model.preset", tuple(PRESETS))
    if config.train.decay is not None:
        one_of("train.decay", ("all", "matrices"))
    one_of("objective.annealing", ANNEALINGS)
    one_of("train.precision", PRECISIONS)
    one_of("train.nonfinite", NONFINITE)
    one_of("probe.latent", PROBE_LATENTS)
    one_of("probe.fit", PROBE_FITS)
    for key, value in flatten(config.to_dict()).items():
        if isinstance(value, float):
            rule(key, math.isfinite(value), "must be a finite number")
    for key, least in _LEAST.items():
        rule(key, value_of(config, key) >= least, f"must be at least {least}")
    for key in _SHARES:
        rule(key, 0 <= value_of(config, key) < 1, "must be a share, 0 <= share < 1")
    for key in _POSITIVE:
        rule(key, value_of(config, key) > 0, "must be above 0")
    ratio = config.objective.ratio
    rule("objective.ratio", 0 < ratio <= 1, "the ramp's share of a cycle, 0 < ratio <= 1")
    rule("data.max_len", config.data.max_len <= POSITIONS, f"the models have {POSITIONS} positions")
    rule(
        "train.epochs",
        config.train.epochs > 0 or config.train.steps > 0,
        "set train.epochs or train.steps above 0",
    )
    if config.train.steps > 0:
        rule(
            "objective.cycles",
            config.objective.cycles <= config.train.steps,
            f"more cycles than train.steps = {config.train.steps}",
        )
    rule(
        "train.final_learning_rate",
        0 <= config.train.final_learning_rate <= config.train.learning_rate,
        "must lie between 0 and train.learning_rate",
    )
    if config.data.corpus == "text":
        rule("data.train", bool(config.data.train), "the corpus `text` needs a file to train on")
        held_out = {
            f"data.{split}_share": config.data[f"{split}_share"]
            for split in ("valid", "test")
            if not config.data[split]
        }
        for key, share in held_out.items():
            rule(key, share > 0, f"must be above 0, or give a file as {key.removesuffix('_share')}")
        left = sum(held_out.values()) < 1
        rule("data.valid_share", left, "with data.test_share it leaves nothing to train on")
    else:
        for key in ("data.train", "data.valid", "data.test"):
            used = f"only the corpus `text` reads it, and data.corpus is {config.data.corpus}"
            rule(key, not value_of(config, key), used)
    if not problems:
        _check_model(config, rule)
    if problems:
        raise ConfigError("\n".join(problems))


_LEAST = {
    "data.max_len": 3,
    "data.batch_size": 1,
    "data.groups": 1,
    "data.seed": 0,
    "data.sentences": 1,
    "data.held_out": 1,
    "seed": 0,
    "tokenizer.vocab_size": 5,
    "model.dim": 1,
    "objective.cycles": 1,
    "objective.free_bits": 0,
    "train.epochs": 0,
    "train.steps": 0,
    "train.weight_decay": 0,
    "train.clip_norm": 0,
    "train.log_every": 1,
    "train.validate_every": 0,
    "train.checkpoint_every": 0,
    "evaluation.batch_size": 1,
    "evaluation.iw_samples": 0,
    "evaluation.seed": 0,
    "probe.epochs": 1,
    "probe.batch_size": 1,
    "probe.seed": 0,
    "samples.count": 0,
    "samples.seed": 0,
}


_SHARES = ("data.valid_share", "data.test_share", "train.beta1", "train.beta2")


_POSITIVE = ("train.learning_rate", "probe.learning_rate", "samples.temperature")


def _check_model(config: ConfigDict, rule: Any) -> None:
    name, preset = config.model.name, config.model.preset
    if name not in PRESETS[preset]:
        have = ", ".join(PRESETS[preset])
        rule("model.preset", False, f"{name} has no such preset; {have} have")
        return
    for field in PRESET_FIELDS:
        if field.name not in PRESETS[preset][name]:
            rule(
                f"model.{field.name}", config.model[field.name] is None, f"{name} has no such field"
            )
    if has_latent(name):
        rule("model.latent_dim", (config.model.latent_dim or 0) >= 1, "must be at least 1")
    else:
        rule("model.latent_dim", config.model.latent_dim is None, f"{name} has no latent")
    settings = model_settings(config)
    for key in ("layers", "heads", "ff_dim", "latent_slots", "embed_dim"):
        rule(f"model.{key}", _unset_or(settings, key, 1), "must be at least 1")
    for key in ("decoder_layers", "decoder_heads"):
        rule(f"model.{key}", _unset_or(settings, key, 1), "must be at least 1")
    for key in ("dropout", "word_dropout"):
        share = getattr(settings, key)
        rule(f"model.{key}", share is None or 0 <= share < 1, "must be a share, 0 <= share < 1")
    poolings = ("cls", "mean", "attention")
    rule(
        "model.pooling", settings.pooling in (None, *poolings), choices(settings.pooling, poolings)
    )
    for key in ("heads", "decoder_heads"):
        heads = getattr(settings, key)
        divides = f"{heads} heads (preset {preset}) do not divide model.dim = {settings.dim}"
        rule(f"model.{key}", not heads or settings.dim % heads == 0, divides)
    if name == "vae_gpt2" and settings.weights:
        fits = "GPT-2's weights are of GPT-2's pieces: tokenizer.kind must be gpt2"
        rule("model.weights", config.tokenizer.kind == "gpt2", fits)


def _unset_or(settings: ModelSettings, key: str, least: int) -> bool:
    value = getattr(settings, key)
    return value is None or value >= least


def model_settings(config: ConfigDict) -> ModelSettings:
    """The model's settings with the preset's choices where the config leaves a key unset."""
    chosen = PRESETS[config.model.preset][config.model.name]
    values = {"name": config.model.name, "dim": config.model.dim}
    values["latent_dim"] = config.model.latent_dim or 0
    for name, choice in chosen.items():
        value = config.model[name]
        values[name] = choice if value is None else value
    if "ff_dim" in values and values["ff_dim"] is None:
        values["ff_dim"] = 4 * config.model.dim
    return ModelSettings(**values)


def decay(config: ConfigDict) -> str:
    """What weight decay takes: `all` parameters or `matrices`."""
    return config.train.decay or DECAY[config.model.preset]
