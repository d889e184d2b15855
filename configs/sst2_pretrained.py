"""The recipe of configs/sst2_alive.py with a published encoder in the place of the bag's.

    python -m vaetx_jax.main --config=configs/sst2_pretrained.py \
        --config.model.encoder_weights=sentence-transformers/all-MiniLM-L6-v2

The encoder reads its own tokens; the decoder writes the same tokens as that of sst2_alive.py, so
that configs/sst2_alive.py:transformer_lm is the language model to measure both against.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.living_latent import keep_latent_alive


def get_config(model: str = "vae_bert") -> ConfigDict:
    """The recipe's settings with a published encoder."""
    config = default_config(model)
    config.data.corpus = "sst2"
    keep_latent_alive(config)
    config.tokenizer.kind = "bpe"
    return config
