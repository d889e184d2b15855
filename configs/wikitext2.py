"""The paper's model on WikiText-2 (paragraphs of up to 256 tokens), with the paper's settings.

python -m vaetx_jax.main --config=configs/wikitext2.py

Expected: 17,556 paragraphs to train on, about 549 steps per epoch: 1.8 s per step on two idle
cores, 17 minutes per epoch. The paper reports a perplexity (`ppl_rec`) of 121.71 at KL 4.27 and
mutual information (`mi_b32`) of 1.96.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings; another model by --config=configs/wikitext2.py:MODEL."""
    config = default_config(model)
    config.data.corpus = "wikitext2"
    config.data.max_len = 256
    return config
