"""All settings: their defaults, their meaning and every rule between them.

A config file starts from `default_config(model)` and changes what differs; the command line
changes single keys (`--config.model.latent_dim=32`, type-checked). `validate` then checks every
rule at once. A run keeps its config as `WORKDIR/config.json`.
"""

import difflib
import json
import math
import os
import pathlib
from typing import Any

from ml_collections import ConfigDict, config_dict

from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.presets import (
    DECAY,
    MODELS,
    PLAIN_TYPE,
    POSITIONS,
    PRESET_FIELDS,
    PRESETS,
    ModelSettings,
    has_latent,
)
from vaetx_jax.schedules import ANNEALINGS

CORPORA = ("ptb", "wikitext2", "sst2", "air", "text", "grammar")
# What the layers compute in while training. Parameters, sums, latents and all of evaluation are
# float32 in any case.
PRECISIONS = ("float32", "bfloat16")
NONFINITE = ("stop", "skip")
PROBE_LATENTS = ("sample", "mean")
PROBE_FITS = ("paper", "closed")
TOKENIZERS = ("bpe", "unigram", "wordpiece", "gpt2")


def default_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings on `grammar`; a config file says what differs.

    Args:
      model: what stands behind the colon in `--config=configs/ptb.py:MODEL`.

    Raises:
      ConfigError: there is no such model.
    """
    if model not in MODELS:
        raise ConfigError(
            f"model {model!r} (behind the colon of --config): {_choices(model, MODELS)}"
        )
    config = ConfigDict()
    config.seed = 0  # initialisation, dropout and latent noise

    config.data = ConfigDict()
    config.data.corpus = "grammar"
    config.data.manual_dir = ""  # a folder with the corpus's files; empty: download them
    config.data.cache_dir = ""  # built corpora, ids, compiled programs; empty: see cache_dir()
    config.data.max_len = 64  # pieces of a sentence, [CLS] and [SEP] counted; longer ones are cut
    config.data.batch_size = 32  # sentences a step, over all devices
    config.data.seed = 0  # the order of the batches
    config.data.batching = "groups"  # by length; "pad": every row max_len long, as the paper's
    config.data.groups = 8  # lengths that are compiled; fewer leave more padding
    config.data.train = ""  # the files of `text`
    config.data.valid = ""
    config.data.test = ""
    config.data.valid_share = 0.1  # held out of data.train by hash where there is no file
    config.data.test_share = 0.1
    config.data.sentences = 20_000  # training rows of `grammar`
    config.data.held_out = 2_000  # rows of its validation and of its test split

    config.mesh = ConfigDict()
    # The optimizer's moments and the large tables split over the devices: less memory on each, more
    # traffic between them.
    config.mesh.shard_state = False

    config.tokenizer = ConfigDict()
    config.tokenizer.kind = "gpt2" if model == "vae_gpt2" else "bpe"
    config.tokenizer.vocab_size = 30_522  # at most; a small corpus gives fewer pieces
    config.tokenizer.vocab_dir = ""  # bert/vocab.txt, gpt2/...; empty: data.manual_dir

    config.model = ConfigDict()
    config.model.name = model
    config.model.preset = "paper"
    config.model.dim = 768 if model == "vae_gpt2" else 128
    config.model.latent_dim = config_dict.placeholder(int)
    if has_latent(model):
        config.model.latent_dim = 64
    # Unset keys are as the preset has them (`ModelSettings` says what each is).
    for field in PRESET_FIELDS:
        config.model[field.name] = config_dict.placeholder(PLAIN_TYPE[field.type])  # type: ignore[index]

    config.objective = ConfigDict()
    config.objective.annealing = "cyclic"
    config.objective.cycles = 5  # M; the learning rate restarts with them
    config.objective.ratio = 0.5  # R, the share of a cycle in which alpha rises
    config.objective.free_bits = 0.0  # nats a dimension that cost nothing; 0: off

    config.train = ConfigDict()
    config.train.epochs = 50
    config.train.steps = 0  # wins over epochs if positive
    config.train.learning_rate = 1e-3
    config.train.final_learning_rate = 1e-7
    config.train.weight_decay = 0.1
    config.train.decay = config_dict.placeholder(str)  # all or matrices; unset: as the preset
    config.train.beta1 = 0.9
    config.train.beta2 = 0.999
    config.train.clip_norm = 0.0  # largest global norm of the gradient; 0: never clipped
    config.train.nonfinite = "stop"  # at a loss or gradient that is not finite; or skip the step
    config.train.precision = "float32"  # of training's products; or bfloat16
    config.train.init_from = ""  # a work folder whose parameters this run starts from
    config.train.log_every = 50  # steps
    config.train.validate_every = 0  # steps; 0: every epoch. The ends of cycles always count
    config.train.checkpoint_every = 0  # steps; 0: with each validation

    config.evaluation = ConfigDict()
    config.evaluation.batch_size = 32
    config.evaluation.iw_samples = 50  # of the importance-weighted bound; 0: leave it out
    config.evaluation.seed = 0

    config.probe = ConfigDict()
    config.probe.latent = "sample"  # what the classifier reads: z from the posterior, or its mean
    config.probe.fit = "paper"  # AdamW as the paper's; "closed": L2-regularised to the optimum
    config.probe.epochs = 20  # these three are the paper's fit's alone
    config.probe.learning_rate = 1e-4
    config.probe.batch_size = 32
    config.probe.seed = 0

    config.samples = ConfigDict()
    config.samples.count = 10  # sentences drawn from the prior after training; 0: no samples
    config.samples.temperature = 1.0
    config.samples.seed = 0
    config.lock()
    return config


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
        rule(key, name in names, _choices(name, names))

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
        held = config.data.valid_share + config.data.test_share
        rule("data.valid_share", held < 1, "with data.test_share it leaves nothing to train on")
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
        "model.pooling", settings.pooling in (None, *poolings), _choices(settings.pooling, poolings)
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


def value_of(config: ConfigDict, key: str) -> Any:
    """The value at a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value


def set_value(config: ConfigDict, key: str, value: Any) -> None:
    """Sets the value at a dotted key.

    Raises:
      TypeError, ValueError: it is of the wrong type.
    """
    section, _, name = key.rpartition(".")
    (value_of(config, section) if section else config)[name] = value


def cache_dir(config: ConfigDict) -> pathlib.Path:
    """`data.cache_dir`, else $VAETX_CACHE, else ~/.cache/vaetx_jax."""
    chosen = config.data.cache_dir or os.environ.get("VAETX_CACHE", "~/.cache/vaetx_jax")
    return pathlib.Path(chosen).expanduser().resolve()


def to_json(config: ConfigDict) -> str:
    """The config as it is kept in a work folder."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def read_config(path: pathlib.Path) -> ConfigDict:
    """A kept config, laid over today's defaults so that keys added since have their default.

    Raises:
      UserError: the file is missing or is no config of this project.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        config = default_config(kept["model"]["name"])
        config.update(kept)
        validate(config)
    except FileNotFoundError:
        raise UserError(
            f"{path.parent}: no config.json here, so this is not the work folder of a run; "
            "give the folder that --workdir named in training"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise UserError(f"{path}: not a config of this project ({error})") from error
    return config


def differences(old: ConfigDict, new: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with (old, new)."""
    old_flat, new_flat = flatten(old.to_dict()), flatten(new.to_dict())
    keys = sorted(old_flat.keys() | new_flat.keys())
    return {
        key: (old_flat.get(key), new_flat.get(key))
        for key in keys
        if old_flat.get(key) != new_flat.get(key)
    }


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dict as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def closest(name: str, names: Any) -> str:
    """' (did you mean NAME?)' where one of the names is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(names), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _choices(name: Any, names: tuple[str, ...]) -> str:
    return f"must be one of {', '.join(names)}{closest(name, names)}"
