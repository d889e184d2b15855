"""The demonstration: a small VAE-Transformer that does not collapse, on the built-in grammar.

Run it:

    python -m vaetx_jax.main --config=configs/demo.py

Expected: three minutes on two idle cores; all 32 units active, KL about 16 nats, 9 nats behind the
known entropy, a linear probe that reads the topic off z with an accuracy of 0.94, the sentiment
with 0.96 and the tense with 0.99. With the seeds 1 and 2: topic 0.93 and 0.93, sentiment 0.92 and
0.96.
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
