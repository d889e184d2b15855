"""The paper's model on tweets about US airlines, with the paper's settings.

python -m vaetx_jax.main --config=configs/air.py --workdir=runs/air
"""

from ml_collections import ConfigDict

from vaetx_jax.config import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings; another model by --config=configs/air.py:MODEL."""
    config = default_config(model)
    config.data.corpus = "air"
    config.train.learning_rate = 1e-4
    return config
