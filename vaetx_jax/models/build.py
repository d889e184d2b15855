"""From settings to a model: parts by name."""

import dataclasses
from typing import Any

import flax.linen as nn

from vaetx_jax.errors import UserError
from vaetx_jax.models.bag import BagEncoder
from vaetx_jax.models.bert import BertEncoder, BertSize
from vaetx_jax.models.freeze import freezes_encoder
from vaetx_jax.models.given import GivenEncoder
from vaetx_jax.models.gpt2 import Gpt2Size
from vaetx_jax.models.language_model import LanguageModel
from vaetx_jax.models.presets import POSITIONS, ModelSettings, encoder_of
from vaetx_jax.models.recurrent import RecurrentDecoder, RecurrentEncoder
from vaetx_jax.models.text_vae import TextVAE
from vaetx_jax.models.transformer import LayerShape, TransformerDecoder, TransformerEncoder


def build_model(
    settings: ModelSettings,
    *,
    vocab_size: int,
    pad_id: int,
    encoder_pad_id: int | None = None,
    dtype: Any = None,
    bert: BertSize | None = None,
    gpt2: Gpt2Size | None = None,
    given_dim: int = 0,
) -> LanguageModel:
    """The model that `settings` describe, for a tokenizer's vocabulary.

    Args:
      settings: the config's model, presets filled in (`config.model_settings`).
      vocab_size: tokens in the vocabulary.
      pad_id: the id of [PAD], never computed.
      encoder_pad_id: the same in the tokens of an encoder that reads its own; None: it does not.
      dtype: what the layers compute in; None: float32, as the parameters are in any case.
      bert: the size of the encoder `bert`.
      gpt2: the size of a decoder with GPT-2's published weights; None: as `settings` have it.
      given_dim: the width of the encoder `vectors`.

    Raises:
      UserError: the model has an encoder whose size is not given.
    """
    if gpt2 is not None:
        settings = dataclasses.replace(settings, dim=gpt2.dim)
    common: dict[str, Any] = {
        "decoder": _decoder(settings, vocab_size, dtype, gpt2),
        "dim": settings.dim,
        "vocab_size": vocab_size,
        "pad_id": pad_id,
        "tied": bool(settings.tied),
        "output_dropout": settings.output_dropout or 0.0,
        "freeze": settings.freeze or "none",
    }
    if not settings.latent_dim:
        return LanguageModel(**common)
    return TextVAE(
        **common,
        encoder=_encoder(settings, vocab_size, dtype, bert, given_dim),
        encoder_pad_id=encoder_pad_id,
        encodes_sep=encoder_of(settings.name, settings.encoder) == "bert",
        latent_dim=settings.latent_dim,
        latent_output=bool(settings.latent_output),
        # A bag's summary is linear in its table already; standardised, it needs no other scale.
        mean_layer=not (settings.encoder == "bag" and (settings.channel_rate or settings.mu_norm)),
        mu_norm=settings.mu_norm or 0.0,
        channel_rate=settings.channel_rate or 0.0,
        channel_norm=settings.channel_norm or "sentence",
    )


_CELLS = {"vae_lstm": "lstm", "vae_gru": "gru", "lstm_lm": "lstm", "gru_lm": "gru"}


def _encoder(
    settings: ModelSettings, vocab_size: int, dtype: Any, bert: BertSize | None, given_dim: int
) -> nn.Module:
    word_dropout = settings.encoder_word_dropout or 0.0
    kind = encoder_of(settings.name, settings.encoder)
    if kind == "bert":
        if bert is None:
            raise UserError("the encoder bert has the size of its weights, and none are given here")
        frozen = freezes_encoder(settings.freeze or "none")
        return BertEncoder(bert, settings.pooling or "mean", frozen=frozen, dtype=dtype)
    if kind == "vectors":
        return GivenEncoder(given_dim)
    if kind == "bag":
        return BagEncoder(vocab_size, settings.latent_dim, word_dropout)
    if kind in ("lstm", "gru"):
        return RecurrentEncoder(
            cell=kind, word_dropout=word_dropout, **_recurrent(settings, vocab_size, dtype)
        )
    return TransformerEncoder(
        vocab_size=vocab_size,
        positions=POSITIONS,
        layers=settings.layers,
        shape=_shape(settings, dtype),
        pooling=settings.pooling or "cls",
        word_dropout=word_dropout,
    )


def _decoder(
    settings: ModelSettings, vocab_size: int, dtype: Any, gpt2: Gpt2Size | None
) -> nn.Module:
    if settings.name in _CELLS:
        return RecurrentDecoder(
            cell=_CELLS[settings.name],
            latent_dim=settings.latent_dim,
            word_dropout=settings.word_dropout or 0.0,
            **_recurrent(settings, vocab_size, dtype),
        )
    if settings.name == "vae_gpt2":
        size = gpt2 or Gpt2Size.of(settings)
        return TransformerDecoder(
            vocab_size=vocab_size,
            positions=size.positions,
            layers=size.layers,
            shape=size.shape(settings.dropout, dtype),
            latent_dim=settings.latent_dim,
            latent_attention=False,
            latent_input=bool(settings.latent_input),
            latent_prefix=bool(settings.latent_prefix),
            word_dropout=settings.word_dropout or 0.0,
        )
    return TransformerDecoder(
        vocab_size=vocab_size,
        positions=POSITIONS,
        layers=settings.layers,
        shape=_shape(settings, dtype),
        latent_dim=settings.latent_dim,
        latent_attention=settings.latent_attention is not False,
        latent_input=bool(settings.latent_input),
        word_dropout=settings.word_dropout or 0.0,
    )


def _recurrent(settings: ModelSettings, vocab_size: int, dtype: Any) -> dict[str, Any]:
    """What a recurrent encoder and decoder have in common; `dim` is the hidden size."""
    return {
        "vocab_size": vocab_size,
        "embed_dim": settings.embed_dim,
        "hidden": settings.dim,
        "layers": settings.layers,
        "dropout": settings.dropout,
        "dtype": dtype,
    }


def _shape(settings: ModelSettings, dtype: Any) -> LayerShape:
    """The shape of an encoder's layers, and of a decoder's where it has the same."""
    return LayerShape(
        dim=settings.dim,
        heads=settings.heads or 1,
        ff_dim=settings.ff_dim or 4 * settings.dim,
        dropout=settings.dropout,
        pre_norm=bool(settings.pre_norm),
        learned_norm=bool(settings.learned_norm),
        output_projection=bool(settings.output_projection),
        latent_slots=settings.latent_slots or 1,
        dtype=dtype,
    )
