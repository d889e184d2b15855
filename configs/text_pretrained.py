"""A few thousand sentences of your own behind a published encoder (a BERT) that is not trained.

    python -m vaetx_jax.main --config=configs/text_pretrained.py --config.data.train=FILE \
        --config.model.encoder_weights=DIR --workdir=runs/pretrained

DIR is a folder with the encoder's config.json, model.safetensors and vocab.txt, or a name on the
Hugging Face hub such as sentence-transformers/all-MiniLM-L6-v2. Its features of the sentences are
computed once, so that no step has to run it. docs/own_text.md says when this pays.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.pretrained_text import pretrained_text_config
from vaetx_jax.errors import ConfigError


def get_config(model: str = "vae_bert") -> ConfigDict:
    """Settings for few sentences and a published encoder; there is no other model."""
    if model != "vae_bert":
        raise ConfigError(
            f"model {model!r} (behind the colon of --config): configs/text_pretrained.py has "
            "vae_bert alone"
        )
    return pretrained_text_config()
