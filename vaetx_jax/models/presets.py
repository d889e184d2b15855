"""The models by name, what can be chosen of each, and what a preset chooses."""

import dataclasses
from typing import Any

from vaetx_jax.models.channel import NORMS
from vaetx_jax.models.freeze import FREEZES
from vaetx_jax.settings import setting

MODELS = (
    "vae_transformer",
    "vae_lstm",
    "vae_gru",
    "vae_gpt2",
    "vae_bert",
    "transformer_lm",
    "lstm_lm",
    "gru_lm",
)
ENCODERS = ("transformer", "lstm", "gru", "bag", "bert", "vectors")
POSITIONS = 512  # learned positions of the published models, whatever the length of the corpus


def has_latent(model: str) -> bool:
    """Whether a model is a text VAE (else a language model)."""
    return model.startswith("vae_")


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """A model as its builder sees it: the config's `model` with the preset's choices filled in.

    A field that the model does not have is None.

    Attributes:
      name: one of `MODELS`.
      dim: width; the hidden size of recurrent models.
      latent_dim: width of z; 0 for a language model.
      layers: of the encoder and of the decoder (of the encoder alone for `vae_gpt2`, of the decoder
        alone with an encoder that has no such layers).
      dropout: on embeddings and on each sublayer's or layer's output.
      heads, ff_dim: of Transformer layers.
      pre_norm, learned_norm, output_projection: see `LayerShape`.
      tied: the output layer's kernel is the decoder's token embedding.
      pooling: how an encoder's output becomes one vector: cls, mean or (not of the encoder `bert`)
        attention.
      latent_slots: of the latent-decoder attention.
      latent_input: z, projected, is also added to every input of the decoder.
      latent_prefix: of `vae_gpt2`: z is a key and value of each layer's self-attention, before the
        first position.
      word_dropout, encoder_word_dropout: share of the decoder's and of the encoder's input tokens
        left out in training.
      output_dropout: on the decoder's output, before the output layer.
      output_start: where the output layer's bias starts: at zeros, or at the log shares of the
        training split's tokens (unigrams).
      encoder: one of `ENCODERS`; None: the one of the model's family.
      encoder_weights: of the encoder `bert`: a folder with a BERT's published config.json,
        model.safetensors and vocab.txt, or a name to fetch them by.
      encoder_start: where the posterior's mean starts: at random; of the encoder `bag`, at latent
        semantic analysis (lsa); of the encoders `bert` and `vectors`, at the whitened principal
        components of its output (whiten).
      channel_rate: R > 0: the posterior is a channel of R nats (`models.channel`); 0: it is learnt.
      channel_norm: where the channel's KL is R: in every `sentence`, or on average over the
        training `split`.
      mu_norm: gamma > 0: batch norm on the posterior's mean with the fixed scale gamma and a learnt
        shift, so that the KL is at least Z gamma^2 / 2 nats (Zhu et al., 2020); 0: off.
      latent_attention: z enters each decoder layer by the latent-decoder attention.
      latent_output: z, projected, is also added to the decoder's output.
      latent_output_start: of the projection of `latent_output`: zeros, or the regression of
        `training.starts`, which needs a channel.
      freeze: the parameters that are not trained: see `models.freeze`.
      embed_dim: width of a recurrent model's embedding, whatever its hidden size.
      decoder_layers, decoder_heads: the size of GPT-2 where it has no published weights.
      weights: a folder with the published weights of any GPT-2, or a name to fetch them by, which
        give its size and `dim`; empty: none.
    """

    name: str
    dim: int = setting(least=1)
    latent_dim: int = setting(least=0)
    layers: int = setting(least=1)
    dropout: float = setting(least=0, below=1)
    heads: int | None = setting(None, least=1)
    ff_dim: int | None = setting(None, least=1)
    pre_norm: bool | None = None
    learned_norm: bool | None = None
    output_projection: bool | None = None
    tied: bool | None = None
    pooling: str | None = setting(None, choices=("cls", "mean", "attention"))
    latent_slots: int | None = setting(None, least=1)
    latent_input: bool | None = None
    latent_prefix: bool | None = None
    word_dropout: float | None = setting(None, least=0, below=1)
    encoder_word_dropout: float | None = setting(None, least=0, below=1)
    output_dropout: float | None = setting(None, least=0, below=1)
    output_start: str | None = setting(None, choices=("zeros", "unigrams"))
    encoder: str | None = setting(None, choices=ENCODERS)
    encoder_weights: str | None = None
    encoder_start: str | None = setting(None, choices=("random", "lsa", "whiten"))
    channel_rate: float | None = setting(None, least=0)
    channel_norm: str | None = setting(None, choices=NORMS)
    mu_norm: float | None = setting(None, least=0)
    latent_attention: bool | None = None
    latent_output: bool | None = None
    latent_output_start: str | None = setting(None, choices=("zeros", "regression"))
    freeze: str | None = setting(None, choices=FREEZES)
    embed_dim: int | None = setting(None, least=1)
    decoder_layers: int | None = setting(None, least=1)
    decoder_heads: int | None = setting(None, least=1)
    weights: str | None = None


Choices = dict[str, Any]

# The published models: their parameter counts come out exactly (Table 8). What a preset names for a
# model are the fields that the model has; `config.model.KEY` overrides it where it is set.
_PAPER_TRANSFORMER: Choices = {
    "layers": 2,
    "dropout": 0.1,
    "heads": 2,
    "ff_dim": 512,
    "pre_norm": False,
    "learned_norm": False,
    "output_projection": False,
    "tied": False,
}
_PAPER_LATENT: Choices = {
    "pooling": "cls",
    "latent_slots": 2,
    "latent_attention": True,
    "latent_input": False,
}
_PAPER_RECURRENT: Choices = {"layers": 2, "dropout": 0.1, "embed_dim": 128}
_PAPER_GPT2: Choices = {
    "layers": 2,
    "dropout": 0.1,
    "heads": 2,
    "ff_dim": 512,
    "pooling": "cls",
    "decoder_layers": 12,
    "decoder_heads": 12,
    "weights": "",
    "latent_input": True,
    "latent_prefix": False,
}

# The better model rather than the published one.
_MODERN_TRANSFORMER: Choices = {
    "layers": 2,
    "dropout": 0.1,
    "heads": 4,  # heads of 32 at d = 128: more patterns at no cost
    "ff_dim": None,  # 4 * dim, so that width grows as a whole
    "pre_norm": True,  # gradients reach the first layer unscaled; trains without warm-up
    "learned_norm": True,  # lets a layer choose how much of its input it hears
    "output_projection": True,  # mixes the heads; without it each owns a part of the residual
    "tied": True,  # a third of the parameters, and rare tokens learn from both ends
}
_MODERN_LATENT: Choices = {
    "pooling": "attention",  # all positions feed the posterior, not one
    "latent_attention": True,
    "latent_slots": 4,  # room for the query to choose between aspects of z
    "latent_input": True,  # a path from z to every position that needs no attention to be learnt
}

_WORD_DROPOUT = "encoder_word_dropout"

# What every model has, and every text VAE, whatever its preset.
_ANY: Choices = {
    "word_dropout": 0.0,  # 0.3 is a remedy against collapse that costs some nll
    "output_dropout": 0.0,
    "output_start": "zeros",
    "freeze": "none",
}
_ANY_LATENT: Choices = {
    "encoder": None,
    "encoder_start": "random",
    _WORD_DROPOUT: 0.0,
    "channel_rate": 0.0,
    "channel_norm": "sentence",
    "mu_norm": 0.0,
    "latent_output": False,
    "latent_output_start": "zeros",
}
# What another encoder than the family's needs beside the fields of the family.
_OTHER_ENCODER: dict[str, Choices] = {
    "transformer": {"heads": 2, "ff_dim": None, "pooling": "cls"},
    "lstm": {"embed_dim": 128},
    "gru": {"embed_dim": 128},
    "bag": {},
    "vectors": {},
}
# What the encoder `bert` has whatever the family: its sizes and its dropout are published.
_BERT: Choices = {"pooling": "mean", "encoder_weights": ""}

_FAMILIES: dict[str, dict[str, Choices]] = {
    "paper": {
        "vae_transformer": _PAPER_TRANSFORMER | _PAPER_LATENT,
        "vae_bert": _PAPER_TRANSFORMER | _PAPER_LATENT | _BERT,
        "transformer_lm": _PAPER_TRANSFORMER,
        "vae_lstm": _PAPER_RECURRENT,
        "vae_gru": _PAPER_RECURRENT,
        "lstm_lm": _PAPER_RECURRENT,
        "gru_lm": _PAPER_RECURRENT,
        "vae_gpt2": _PAPER_GPT2,
    },
    "modern": {
        "vae_transformer": _MODERN_TRANSFORMER | _MODERN_LATENT,
        "vae_bert": _MODERN_TRANSFORMER | _MODERN_LATENT | _BERT,
        "transformer_lm": _MODERN_TRANSFORMER,
    },
}
PRESETS: dict[str, dict[str, Choices]] = {
    preset: {
        name: choices | _ANY | (_ANY_LATENT if has_latent(name) else {})
        for name, choices in models.items()
    }
    for preset, models in _FAMILIES.items()
}


_FAMILY_ENCODER = {"vae_lstm": "lstm", "vae_gru": "gru", "vae_bert": "bert"}


def encoder_of(name: str, encoder: str | None) -> str | None:
    """The kind of a model's encoder: the one chosen or its family's; None: it has none."""
    if not has_latent(name):
        return None
    return encoder or _FAMILY_ENCODER.get(name, "transformer")


def choices_of(preset: str, name: str, encoder: str | None) -> Choices:
    """The fields that a model with this encoder has, and the preset's choice of each."""
    choices = PRESETS[preset][name]
    kind = encoder_of(name, encoder)
    if kind == "bert":
        choices = choices | _BERT
        return {field: choice for field, choice in choices.items() if field != _WORD_DROPOUT}
    if encoder is None or kind is None:
        return choices
    choices = _OTHER_ENCODER[encoder] | choices
    if encoder != "transformer":
        choices = {field: choice for field, choice in choices.items() if field != "pooling"}
    return choices


# What AdamW's weight decay takes: every parameter, as PyTorch's does, or matrices only.
DECAY = {"paper": "all", "modern": "matrices"}


PRESET_FIELDS = [
    field
    for field in dataclasses.fields(ModelSettings)
    if field.name not in ("name", "dim", "latent_dim")
]
PLAIN_TYPE = {
    int | None: int,
    bool | None: bool,
    float | None: float,
    str | None: str,
    int: int,
    float: float,
}
