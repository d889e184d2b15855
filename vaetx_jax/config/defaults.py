"""The settings of a run: each key's default, bounds and meaning.

A config file starts from `default_config(model)` and changes what differs; the command line
changes single keys (`--config.model.latent_dim=32`, type-checked). `validate` checks every rule at
once. A run keeps its config as `WORKDIR/config.json`.

A section of the config is a dataclass here, except for `objective`, which is
`losses.elbo.Objective`, and `model`, whose fields are those of `models.presets.ModelSettings`.
"""

import dataclasses
import typing
from typing import Any

from ml_collections import ConfigDict, config_dict

from vaetx_jax.data.corpora.corpus import CORPORA
from vaetx_jax.data.corpora.text_files import ON_ERROR
from vaetx_jax.data.tokenizers.base import KINDS as TOKENIZERS
from vaetx_jax.errors import ConfigError
from vaetx_jax.losses.elbo import Objective
from vaetx_jax.models.presets import (
    MODELS,
    PLAIN_TYPE,
    POSITIONS,
    PRESET_FIELDS,
    has_latent,
)
from vaetx_jax.settings import MAX_SEED, choices, setting

# What the layers compute in while training. Parameters, sums, latents and all of evaluation are
# float32 in any case.
PRECISIONS = ("float32", "bfloat16")
PROBE_LATENTS = ("sample", "mean")
PROBE_FITS = ("paper", "closed")


@dataclasses.dataclass(frozen=True)
class Data:
    """`config.data`: the corpus and its batches."""

    corpus: str = setting("grammar", choices=CORPORA)
    manual_dir: str = ""  # a folder with the corpus's files; empty: download them
    cache_dir: str = ""  # built corpora, ids, compiled programs; empty: see stored.cache_dir
    # Tokens per sentence, [CLS] and [SEP] included; longer ones are cut.
    max_len: int = setting(64, least=3, most=POSITIONS)
    batch_size: int = setting(32, least=1)  # sentences per step, over all devices
    seed: int = setting(0, least=0, most=MAX_SEED)  # the order of the batches
    # By length; "pad": every row is max_len long, as the paper's.
    batching: str = setting("groups", choices=("groups", "pad"))
    groups: int = setting(8, least=1)  # lengths that are compiled; fewer leave more padding
    train: str = ""  # the files of the corpus `text`
    valid: str = ""
    test: str = ""
    # A .npy or .parquet file with a vector for each sentence, which model.encoder=vectors reads;
    # with {split} in its name, a file for each split (`run.given_vectors`).
    vectors: str = ""
    # The columns of these files, by name or by number from 1: the sentence (empty: `text`) and its
    # label (empty: `label`, if there is one); several labels are separated by commas.
    text_column: str = ""
    label_column: str = ""
    # Stop at a line that cannot be read (fatal), or leave it out and count it (skip).
    on_error: str = setting("fatal", choices=ON_ERROR)
    # The shares of `train` that are held out by hash where no file is given.
    valid_share: float = setting(0.1, least=0, below=1)
    test_share: float = setting(0.1, least=0, below=1)
    sentences: int = setting(20_000, least=1)  # training rows of `grammar`
    held_out: int = setting(2_000, least=1)  # rows of its validation and of its test split


@dataclasses.dataclass(frozen=True)
class MeshSettings:
    """`config.mesh`: how the state is placed on the devices."""

    # Split the optimizer's moments and the large tables over the devices: less memory on each, more
    # traffic between them.
    shard_state: bool = False


@dataclasses.dataclass(frozen=True)
class TokenizerSettings:
    """`config.tokenizer`."""

    kind: str = setting("bpe", choices=TOKENIZERS)
    # At most this many; a small corpus gives fewer. 0: chosen from the number of its words.
    vocab_size: int = setting(30_522, least=0)
    vocab_dir: str = ""  # holds bert/vocab.txt, gpt2/...; empty: data.manual_dir


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its cosine learning rate; a part of `config.train`."""

    learning_rate: float = setting(1e-3, above=0)  # at the start of each period
    final_learning_rate: float = setting(1e-7, least=0)  # at its end
    weight_decay: float = setting(0.1, least=0)
    # What is decayed: all parameters, as PyTorch's AdamW does, or matrices alone; unset: as the
    # model's preset has it.
    decay: str | None = setting(None, choices=("all", "matrices"))
    beta1: float = setting(0.9, least=0, below=1)
    beta2: float = setting(0.999, least=0, below=1)
    clip_norm: float = setting(0.0, least=0)  # largest global norm of the gradient; 0: never clip


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """The rest of `config.train`: how long a run trains, from where, and how often it reports."""

    epochs: int = setting(50, least=0)
    steps: int = setting(0, least=0)  # if above 0, this many steps whatever `epochs` says
    max_steps: int = setting(0, least=0)  # the limit on the steps of the epochs; 0: none
    # At a loss or gradient that is not finite: stop the run, or skip the step.
    nonfinite: str = setting("stop", choices=("stop", "skip"))
    precision: str = setting("float32", choices=PRECISIONS)
    init_from: str = ""  # a work folder whose parameters this run starts from
    # Which of them; parts may be those of a model with other settings.
    init_parts: str = setting("all", choices=("all", "encoder", "decoder", "embeddings"))
    # The first phase: the decoder as a language model, or the VAE as an autoencoder, whose decoder
    # is then initialised again.
    warm_up: str = setting("none", choices=("none", "language_model", "autoencoder"))
    warm_up_share: float = setting(0.5, above=0, below=1)  # of the steps
    warm_up_learning_rate: float = setting(0.0, least=0)  # 0: learning_rate
    # Stop after this many validations in a row without a better one; 0: train to the last step.
    # Only validations that may become `best` count: with cyclic annealing, the ends of its cycles.
    patience: int = setting(0, least=0)
    # Steps between updates of a channel's statistics; 0: four times per epoch.
    statistics_every: int = setting(0, least=0)
    log_every: int = setting(50, least=1)  # steps
    # Steps; 0: every epoch. The ends of cycles are validated in any case.
    validate_every: int = setting(0, least=0)
    checkpoint_every: int = setting(0, least=0)  # steps; 0: with each validation


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """`config.evaluation`."""

    batch_size: int = setting(32, least=1)
    iw_samples: int = setting(50, least=0)  # of the importance-weighted bound; 0: leave it out
    seed: int = setting(0, least=0, most=MAX_SEED)
    # Sentences drawn from the prior for the metrics of sampled text; 0: leave them out.
    text_samples: int = setting(200, least=0)
    # Compute all metrics of text, as `evaluate --text` does; it takes minutes.
    text: bool = False
    # The sentences that are then drawn, and the test sentences that are reconstructed.
    text_sentences: int = setting(1_000, least=2)
    # The folder of a language model over the same corpus and tokens, to measure a VAE against.
    reference: str = ""


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """`config.probe`: the classifier that is fitted to latents."""

    # The classifier's input: z drawn from the posterior, or the posterior's mean.
    latent: str = setting("sample", choices=PROBE_LATENTS)
    # The paper's AdamW; "closed": L2-regularised to the optimum.
    fit: str = setting("paper", choices=PROBE_FITS)
    epochs: int = setting(20, least=1)  # these three are for the paper's fit only
    learning_rate: float = setting(1e-4, above=0)
    batch_size: int = setting(32, least=1)
    seed: int = setting(0, least=0, most=MAX_SEED)


@dataclasses.dataclass(frozen=True)
class SampleSettings:
    """`config.samples`: sentences drawn from the prior after training."""

    count: int = setting(10, least=0)  # 0: none
    temperature: float = setting(1.0, above=0)
    seed: int = setting(0, least=0, most=MAX_SEED)


# Section -> the dataclasses that declare its keys.
SECTIONS: dict[str, tuple[type, ...]] = {
    "data": (Data,),
    "mesh": (MeshSettings,),
    "tokenizer": (TokenizerSettings,),
    "objective": (Objective,),
    "train": (OptimizerSettings, TrainSettings),
    "evaluation": (EvaluationSettings,),
    "probe": (ProbeSettings,),
    "samples": (SampleSettings,),
}


def default_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings on `grammar`; a config file says what differs.

    Args:
      model: the name behind the colon in `--config=configs/ptb.py:MODEL`.

    Raises:
      ConfigError: there is no such model.
    """
    if model not in MODELS:
        raise ConfigError(f"model {model!r}: {choices(model, MODELS)}")
    config = ConfigDict()
    config.seed = 0  # initialisation, dropout and latent noise
    for section, declared in SECTIONS.items():
        config[section] = ConfigDict()
        for field in (field for one in declared for field in dataclasses.fields(one)):
            config[section][field.name] = _default(field)
    config.model = _model(model)
    if model == "vae_gpt2":
        config.tokenizer.kind = "gpt2"
    elif model == "vae_bert":
        config.tokenizer.kind = "wordpiece"
    config.lock()
    return config


def _default(field: dataclasses.Field[Any]) -> Any:
    """A field's default; a placeholder of its type where it is unset."""
    if field.default is not None:
        return field.default
    plain, _ = typing.get_args(field.type)  # of `TYPE | None`
    return config_dict.placeholder(plain)


def _model(name: str) -> ConfigDict:
    model = ConfigDict()
    model.name = name
    model.preset = "paper"
    model.dim = 768 if name == "vae_gpt2" else 128
    model.latent_dim = config_dict.placeholder(int)
    if has_latent(name):
        model.latent_dim = 64
    # Unset keys are as the preset has them (`ModelSettings` says what each is).
    for field in PRESET_FIELDS:
        model[field.name] = config_dict.placeholder(PLAIN_TYPE[field.type])  # type: ignore[index]
    return model
