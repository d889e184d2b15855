"""The paper's model on the Penn Treebank, with the paper's settings.

python -m vaetx_jax.main --config=configs/ptb.py --workdir=runs/ptb
"""

from ml_collections import ConfigDict

from vaetx_jax.config import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings; another model by --config=configs/ptb.py:MODEL."""
    config = default_config(model)
    config.data.corpus = "ptb"
    return config
