"""From settings to a model: parts by name."""

from vaetx_jax.config import POSITIONS, ModelSettings
from vaetx_jax.models.text_vae import LanguageModel, TextVAE
from vaetx_jax.models.transformer import LayerShape, TransformerDecoder, TransformerEncoder


def build_model(settings: ModelSettings, *, vocab_size: int, pad_id: int) -> LanguageModel:
    """The model that `settings` describe, for a tokenizer's vocabulary.

    Args:
      settings: the config's model, presets filled in (`config.model_settings`).
      vocab_size: pieces.
      pad_id: the id of [PAD], never computed.
    """
    shape = LayerShape(
        dim=settings.dim,
        heads=settings.heads,
        ff_dim=settings.ff_dim,
        dropout=settings.dropout,
    )
    parts = {"vocab_size": vocab_size, "positions": POSITIONS, "layers": settings.layers}
    encoder = TransformerEncoder(**parts, shape=shape)
    decoder = TransformerDecoder(**parts, shape=shape, latent_dim=settings.latent_dim)
    return TextVAE(
        encoder=encoder,
        decoder=decoder,
        dim=settings.dim,
        vocab_size=vocab_size,
        pad_id=pad_id,
        latent_dim=settings.latent_dim,
    )
