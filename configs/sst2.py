"""The paper's model on the Stanford Sentiment Treebank, with the paper's settings.

python -m vaetx_jax.main --config=configs/sst2.py

Expected: 6,920 sentences to train on, 218 steps per epoch, all 50 epochs in 40 minutes of one core
of an AMD EPYC: `ppl_rec` 529.70 and `ppl_elbo` 531.13 at KL 0.06 and `mi_b32` 0.05 on the test
split, at the checkpoint of epoch 40. After ten epochs (--config.train.epochs=10) 698.90 and 700.08;
also with --config.train.learning_rate=1e-3, 430.72 and 431.41 at KL 0.04. The paper reports a
perplexity (`ppl_rec`) of 411.40 at KL 0.21 and mutual information (`mi_b32`) of 0.11.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings; another model by --config=configs/sst2.py:MODEL."""
    config = default_config(model)
    config.data.corpus = "sst2"
    config.train.learning_rate = 1e-4
    return config
