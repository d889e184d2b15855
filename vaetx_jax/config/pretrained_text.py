"""The settings for some thousand sentences of a user's own with a published encoder.

Those of `configs/text_pretrained.py` and of `vaetx_jax.fit(sentences, encoder=FOLDER)`.
"""

import os

from ml_collections import ConfigDict

from vaetx_jax.config.own_text import own_text_config

RATE = 10.0  # nats per sentence
LANGUAGE_MODEL_EPOCHS, VAE_EPOCHS = 9, 5


def pretrained_text_config(encoder: str | os.PathLike[str] = "") -> ConfigDict:
    """Settings that learn from few sentences, because the encoder has read many others.

    The encoder is frozen, its output whitened, and the latent's rate is set by a channel. The
    decoder is trained as a language model first; then it learns to use the latent.

    Args:
      encoder: the folder of a BERT, or its name on the Hugging Face hub.
    """
    config = own_text_config("vae_bert")
    config.data.batch_size, config.data.groups = 16, 4
    config.model.update(
        {
            "encoder_weights": os.fspath(encoder),
            "encoder_start": "whiten",
            "freeze": "encoder",
            "latent_dim": 64,
            "channel_rate": RATE,
            "preset": "modern",
            "dropout": 0.3,
            "word_dropout": 0.0,
            "latent_attention": False,  # z enters at the inputs and at the output
            "latent_input": True,
            "latent_output": True,
            "latent_output_start": "regression",
            "output_start": "unigrams",
        }
    )
    config.objective.annealing, config.objective.free_bits = "none", 0.0
    train = config.train
    train.epochs = LANGUAGE_MODEL_EPOCHS + VAE_EPOCHS
    train.warm_up = "language_model"
    train.warm_up_share = round(LANGUAGE_MODEL_EPOCHS / train.epochs, 3)
    train.warm_up_learning_rate, train.learning_rate = 2e-3, 1.5e-3
    train.decay, train.clip_norm = "matrices", 5.0
    config.probe.latent, config.probe.fit = "mean", "closed"
    return config
