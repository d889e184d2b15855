"""The rules of a config, checked all at once."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import SECTIONS, OptimizerSettings, default_config
from vaetx_jax.config.keys import flatten, value_of
from vaetx_jax.errors import ConfigError
from vaetx_jax.losses.elbo import Objective
from vaetx_jax.models import bert
from vaetx_jax.models.presets import (
    DECAY,
    ENCODERS,
    MODELS,
    PRESET_FIELDS,
    PRESETS,
    ModelSettings,
    choices_of,
    encoder_of,
    has_latent,
)
from vaetx_jax.settings import MAX_SEED, broken_rules, choices


def validate(config: ConfigDict) -> None:
    """Checks every rule of a config and reports all broken ones at once.

    Raises:
      ConfigError: one line for each broken rule: the key, its value, what it may be.
    """
    if "data" not in config:
        raise ConfigError("--config: this is not the config of a run; those are in configs/")
    if unset := _missing_numbers(config):
        raise ConfigError("\n".join(f"config.{key} = None: must be a number" for key in unset))
    problems: list[str] = []

    def rule(key: str, holds: bool, must: str) -> None:
        if not holds:
            problems.append(f"config.{key} = {value_of(config, key)!r}: {must}")

    def one_of(key: str, names: tuple[str, ...]) -> None:
        name = value_of(config, key)
        rule(key, name in names, choices(name, names))

    for section, declared in SECTIONS.items():
        for one in declared:
            for name, must in broken_rules(one, config[section]):
                rule(f"{section}.{name}", False, must)
    vocabulary = config.tokenizer.vocab_size
    rule("tokenizer.vocab_size", vocabulary == 0 or vocabulary >= 5, "must be 0 or at least 5")
    one_of("model.name", MODELS)
    one_of("model.preset", tuple(PRESETS))
    rule("seed", 0 <= config.seed <= MAX_SEED, f"must be at least 0 and at most {MAX_SEED}")
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
    zero, ratio = config.objective.zero, config.objective.ratio
    fits = not zero or config.objective.annealing == "none" or zero + ratio <= 1
    rule("objective.zero", fits, f"with objective.ratio = {ratio} it is more than a whole cycle")
    rule(
        "train.final_learning_rate",
        config.train.final_learning_rate <= config.train.learning_rate,
        "must be at most train.learning_rate",
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
        for key in ("train", "valid", "test", "text_column", "label_column"):
            key = f"data.{key}"
            used = f"only the corpus `text` reads it, and data.corpus is {config.data.corpus}"
            rule(key, not value_of(config, key), used)
    if not problems:
        _check_model(config, rule)
    if problems:
        raise ConfigError("\n".join(problems))


def _missing_numbers(config: ConfigDict) -> list[str]:
    """The keys that are None, which no rule can be checked against, and by default a number."""
    defaults = flatten(default_config().to_dict())
    numbers = {key for key, value in defaults.items() if type(value) in (int, float)}
    numbers -= {"model.latent_dim"}  # a language model has none
    return [k for k, value in flatten(config.to_dict()).items() if value is None and k in numbers]


def _check_model(config: ConfigDict, rule: Any) -> None:
    name, preset = config.model.name, config.model.preset
    if name not in PRESETS[preset]:
        have = ", ".join(PRESETS[preset])
        rule("model.preset", False, f"{name} has no such preset; {have} have")
        return
    encoder = config.model.encoder
    if encoder is not None and encoder not in ENCODERS:
        rule("model.encoder", False, choices(encoder, ENCODERS))
        return
    has = choices_of(preset, name, encoder)
    kind = encoder_of(name, encoder)
    whose = f"{name} with the encoder {kind}" if kind == "bert" or (encoder and kind) else name
    for field in PRESET_FIELDS:
        if field.name not in has:
            unset = config.model[field.name] is None
            rule(f"model.{field.name}", unset, f"{whose} has no such field")
    if has_latent(name):
        rule("model.latent_dim", (config.model.latent_dim or 0) >= 1, "must be at least 1")
    else:
        rule("model.latent_dim", config.model.latent_dim is None, f"{name} has no latent")
    settings = model_settings(config)
    for key, must in broken_rules(ModelSettings, dataclasses.asdict(settings)):
        if key != "latent_dim":  # whose rule depends on the model: above
            rule(f"model.{key}", False, must)
    for key in ("heads", "decoder_heads"):
        heads = None if settings.weights else getattr(settings, key)  # the weights have their own
        divides = f"{heads} heads (preset {preset}) do not divide model.dim = {settings.dim}"
        rule(f"model.{key}", not heads or settings.dim % heads == 0, divides)
    if settings.encoder_start == "lsa":
        rule("model.encoder_start", kind == "bag", "lsa is a start of the encoder bag only")
    if settings.encoder_start == "whiten":
        must = "whiten is a start of the encoders bert and vectors only"
        rule("model.encoder_start", kind in ("bert", "vectors"), must)
    if kind == "vectors":
        rule(
            "data.vectors", bool(config.data.vectors), "model.encoder=vectors reads it: give a file"
        )
    else:
        must = "only model.encoder=vectors reads it"
        rule("data.vectors", not config.data.vectors, must)
    if kind == "bert":
        _check_bert(config, settings, rule)
    if settings.latent_output_start == "regression":
        must = "regression needs model.latent_output=True and model.channel_rate"
        fits = bool(settings.latent_output and settings.channel_rate)
        rule("model.latent_output_start", fits, must)
    if settings.freeze in ("encoder", "mean"):
        rule("model.freeze", has_latent(name), f"{name} has no encoder")
    if settings.mu_norm:
        must = "must be 0 where model.channel_rate is set; both scale the posterior's mean"
        rule("model.mu_norm", not settings.channel_rate, must)
    if settings.latent_attention is False:
        paths = settings.latent_input or settings.latent_output
        must = "without it z needs model.latent_input or model.latent_output"
        rule("model.latent_attention", bool(paths), must)
    if name == "vae_gpt2" and settings.weights:
        must = "GPT-2's weights are of GPT-2's tokens: tokenizer.kind must be gpt2"
        rule("model.weights", config.tokenizer.kind == "gpt2", must)
    if name == "vae_gpt2":
        must = "without it z needs model.latent_prefix"
        rule("model.latent_input", bool(settings.latent_input or settings.latent_prefix), must)


def _check_bert(config: ConfigDict, settings: ModelSettings, rule: Any) -> None:
    must = f"give a folder with {', '.join(bert.FILES)}, or a model's name on the Hugging Face hub"
    rule("model.encoder_weights", bool(settings.encoder_weights), must)
    if settings.pooling not in bert.POOLINGS:
        must = f"the encoder bert has {' and '.join(bert.POOLINGS)}"
        rule("model.pooling", False, must)


def model_settings(config: ConfigDict) -> ModelSettings:
    """The model's settings with the preset's choices where the config leaves a key unset."""
    chosen = choices_of(config.model.preset, config.model.name, config.model.encoder)
    values = {"name": config.model.name, "dim": config.model.dim}
    values["latent_dim"] = config.model.latent_dim or 0
    for name, choice in chosen.items():
        value = config.model[name]
        values[name] = choice if value is None else value
    if "ff_dim" in values and values["ff_dim"] is None:
        values["ff_dim"] = 4 * config.model.dim
    return ModelSettings(**values)


def objective(config: ConfigDict) -> Objective:
    """The training objective of a config."""
    return Objective(**config.objective)


def optimizer_settings(config: ConfigDict) -> OptimizerSettings:
    """The optimizer's settings with the preset's decay where the config leaves it unset."""
    fields = [field.name for field in dataclasses.fields(OptimizerSettings)]
    settings = OptimizerSettings(**{name: config.train[name] for name in fields})
    return dataclasses.replace(settings, decay=settings.decay or DECAY[config.model.preset])
