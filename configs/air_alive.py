"""A text VAE with a living latent on tweets about US airlines.

python -m vaetx_jax.main --config=configs/air_alive.py
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.living_latent import keep_latent_alive


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The recipe's settings; the same decoder as a language model by the model transformer_lm."""
    config = default_config(model)
    config.data.corpus = "air"
    keep_latent_alive(config)
    return config
