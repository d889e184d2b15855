"""x"""
from ml_collections import ConfigDict
from vaetx_jax.config import default_config
def get_config(model: str = "vae_transformer") -> ConfigDict:
    config = default_config(model)
    config.data.corpus = "air"
    return config
