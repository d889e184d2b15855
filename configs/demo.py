"""The demonstration: a small VAE-Transformer that does not collapse, on the built-in grammar.

Run it:

    python -m vaetx_jax.main --config=configs/demo.py

Expected: two to three minutes on two cores, of which 1:49 are the training; KL 7 nats, all 32
units active, MI 5.6; another sentence's z would cost 10.9 nats (`use`); 1.66 nats behind the known
entropy, where the same decoder as a language model (configs/demo.py:transformer_lm) is 0.69 behind.
A linear probe reads the topic off z with an accuracy of 0.978, the sentiment with 0.972 and the
tense with 0.989 (test split, seed 0, K = 20).
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.living_latent import keep_latent_alive
from vaetx_jax.models.presets import has_latent


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The demonstration's settings."""
    config = default_config(model)
    keep_latent_alive(config)
    config.data.corpus = "grammar"
    config.data.batch_size = 32
    config.data.max_len = 48
    config.data.groups = 3  # few lengths, so that little is compiled
    config.tokenizer.vocab_size = 590
    config.model.dropout = 0.05  # there is enough of it to train on
    config.train.steps = 2_200
    config.evaluation.iw_samples = 20
    if has_latent(model):
        config.model.latent_dim, config.model.channel_rate = 32, 7.0
        config.train.learning_rate, config.train.warm_up_share = 2e-3, 0.6
        config.train.warm_up_learning_rate = 3e-3
    return config
