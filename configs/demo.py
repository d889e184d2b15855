"""The demonstration: a small VAE-Transformer that does not collapse, on the built-in grammar.

Run it:

    python -m vaetx_jax.main --config=configs/demo.py --workdir=runs/demo

Expected: three minutes on two idle cores; all 32 units active, KL about 16 nats, 9 nats behind the
known entropy, a linear probe that reads the topic off z with an accuracy of 0.94, the sentiment
with 0.96 and the tense with 0.99. With the seeds 1 and 2: topic 0.93 and 0.93, sentiment 0.92 and
0.96.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The demonstration's settings."""
    config = default_config(model)
    config.data.corpus = "grammar"
    config.data.max_len = 48
    config.data.groups = 3  # few lengths, so that little is compiled
    config.tokenizer.vocab_size = 590
    config.model.latent_dim = 32
    # Against collapse: bits that are free, and a decoder that hears z everywhere and its own past
    # only in part, so that it must ask the latent what the sentence is about.
    config.objective.cycles = 1
    config.objective.free_bits = 0.5
    config.model.pooling = "mean"
    config.model.latent_input = True
    config.model.word_dropout = 0.3
    config.train.epochs = 3
    config.evaluation.iw_samples = 20
    return config
