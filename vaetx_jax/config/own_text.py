"""The settings for a user's own text: those of `configs/text.py` and of `vaetx_jax.fit`."""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.models.presets import PRESETS, has_latent

LIVELY = {"pooling": "mean", "latent_input": True, "word_dropout": 0.3}  # for models that have them


def own_text_config(model: str = "vae_transformer") -> ConfigDict:
    """Settings that keep the latent alive, where the paper's let it collapse.

    Half a nat per dimension costs nothing; the encoder's outputs are averaged; the decoder gets the
    latent at every input and loses three tokens in ten.

    Args:
      model: any of the models; a language model has none of this.
    """
    config = default_config(model)
    config.data.corpus = "text"
    config.tokenizer.vocab_size = 16_000
    config.train.epochs = 20
    config.objective.cycles = 1
    if has_latent(model):
        config.model.latent_dim = 32
        config.objective.free_bits = 0.5
        fields = PRESETS[config.model.preset][model]
        config.model.update({key: value for key, value in LIVELY.items() if key in fields})
    return config
