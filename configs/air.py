"""The paper's model on tweets about US airlines, with the paper's settings.

python -m vaetx_jax.main --config=configs/air.py

Expected: 9,266 tweets to train on, 292 steps per epoch, all 50 epochs in 50 minutes of one core of
an AMD EPYC: `ppl_rec` 245.60 and `ppl_elbo` 246.12 at KL 0.05 and `mi_b32` 0.06 on the test split,
at the checkpoint of epoch 40. After ten epochs (--config.train.epochs=10) 375.59 and 375.85. With
--config.tokenizer.kind=wordpiece all 50 epochs end at 82.23 and 82.59, KL 0.12. The paper reports
a perplexity (`ppl_rec`) of 83.70 at KL 0.70 and mutual information (`mi_b32`) of 0.62.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings; another model by --config=configs/air.py:MODEL."""
    config = default_config(model)
    config.data.corpus = "air"
    config.train.learning_rate = 1e-4
    return config
