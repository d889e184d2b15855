"""The settings for some thousand sentences of a user's own with a published encoder.

Those of `configs/text_pretrained.py` and of `vaetx_jax.fit(sentences, encoder=FOLDER)`.
"""

import os

from ml_collections import ConfigDict

from vaetx_jax.config.own_text import own_text_config

LATENT_DIM = 64
RATE = 10.0  # nats per sentence


def pretrained_text_config(encoder: str | os.PathLike[str] = "") -> ConfigDict:
    """Settings that learn from few sentences, because the encoder has read many others.

    They are the recipe of `config.living_latent` with that encoder, frozen, its output whitened,
    and a higher rate, because there is more in it that a decoder can use.

    Args:
      encoder: the folder of a BERT, or its name on the Hugging Face hub.
    """
    config = own_text_config("vae_bert")
    config.model.encoder_weights = os.fspath(encoder)
    config.model.latent_dim, config.model.channel_rate = LATENT_DIM, RATE
    return config
