"""The settings for a user's own text: those of `configs/text.py` and of `vaetx_jax.fit`."""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.living_latent import keep_latent_alive

MAX_STEPS = 40_000  # half an hour to an hour on two cores


def own_text_config(model: str = "vae_transformer") -> ConfigDict:
    """Settings that keep the latent alive, where the paper's let it collapse.

    Args:
      model: any of the models; a language model has no latent.
    """
    config = default_config(model)
    config.data.corpus = "text"
    keep_latent_alive(config)
    config.train.max_steps = MAX_STEPS
    return config
