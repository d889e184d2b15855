"""The paper's model on tweets about US airlines, with the paper's settings.

python -m vaetx_jax.main --config=configs/air.py

Expected: 9,266 tweets to train on, 290 steps an epoch: 0.29 s a step on two idle cores, a minute
and a half an epoch. After ten (--config.train.epochs=10): `ppl_rec` 375.59 and `ppl_elbo` 375.85 at
KL 0.02 on the test split. The paper reports a perplexity (`ppl_rec`) of 83.70 at KL 0.70 and
mutual information (`mi_b32`) of 0.62.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings; another model by --config=configs/air.py:MODEL."""
    config = default_config(model)
    config.data.corpus = "air"
    config.train.learning_rate = 1e-4
    return config
