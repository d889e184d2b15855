"""Your own sentences, one per line (.txt), or with labels (.tsv, .csv); each also gzipped.

    python -m vaetx_jax.main --config=configs/text.py --config.data.train=FILE

A tenth of the sentences is held out for validation and another tenth for testing, by hash, unless
--config.data.valid and --config.data.test name files. The settings are those of `vaetx_jax.fit`:
they suit a few thousand to a million short sentences and keep the latent alive; docs/own_text.md
explains them. The same decoder as a language model: --config=configs/text.py:transformer_lm.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.own_text import own_text_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """Settings for short sentences; another model by --config=configs/text.py:MODEL."""
    return own_text_config(model)
