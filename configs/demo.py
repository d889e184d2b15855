"""The demonstration: a small VAE-Transformer that does not collapse, on the built-in grammar.

python -m vaetx_jax.main --config=configs/demo.py --workdir=runs/demo
"""

from ml_collections import ConfigDict

from vaetx_jax.config import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The demonstration's settings."""
    config = default_config(model)
    config.data.corpus = "grammar"
    config.data.sentences = 20_000
    config.data.max_len = 48
    config.data.batch_size = 64
    config.data.groups = 3
    config.tokenizer.vocab_size = 500
    config.model.latent_dim = 32
    # Against collapse: bits that are free, and a decoder that hears z everywhere and its own past
    # only in part, so that it must ask the latent what the sentence is about.
    config.objective.cycles = 2
    config.objective.free_bits = 0.25
    config.model.pooling = "mean"
    config.model.latent_input = True
    config.model.word_dropout = 0.4
    config.train.epochs = 3
    return config
