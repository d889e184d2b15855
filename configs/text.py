"""Your own sentences, one a line (.txt), or with labels (.tsv, .csv); each also gzipped.

    python -m vaetx_jax.main --config=configs/text.py --config.data.train=FILE --workdir=runs/text

A tenth each is held out by hash to validate and to test on, unless --config.data.valid and
--config.data.test name files. The settings suit some ten thousand to a million short sentences.
"""

from ml_collections import ConfigDict

from vaetx_jax.config import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """Settings for short sentences; another model by --config=configs/text.py:MODEL."""
    config = default_config(model)
    config.data.corpus = "text"
    config.tokenizer.vocab_size = 16_000
    config.train.epochs = 20
    return config
