"""Your own sentences, one a line (.txt), or with labels (.tsv, .csv); each also gzipped.

    python -m vaetx_jax.main --config=configs/text.py --config.data.train=FILE

A tenth each is held out by hash to validate and to test on, unless --config.data.valid and
--config.data.test name files. The settings suit some thousand to a million short sentences and keep
the latent alive, as those of `vaetx_jax.fit` do; docs/own_text.md says which they are. The same
decoder as a language model: --config=configs/text.py:transformer_lm.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.own_text import own_text_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """Settings for short sentences; another model by --config=configs/text.py:MODEL."""
    return own_text_config(model)
