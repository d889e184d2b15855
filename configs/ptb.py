"""The paper's model on the Penn Treebank, with the paper's settings.

python -m vaetx_jax.main --config=configs/ptb.py

Expected: 0.14 to 0.28 s per step on two cores, depending on the machine: three to six minutes per
epoch of 1,317 steps, so the paper's 50 epochs need hours. After five (--config.train.epochs=5):
`ppl_rec` 74.39 and `ppl_elbo` 76.96 at KL 0.83 on the test split. The paper reports a
perplexity (`ppl_rec`) of 75.65 at KL 4.40 and mutual information (`mi_b32`) of 2.45. `bpe` gives
25,714 tokens here; the paper's 30,522 come with --config.tokenizer.kind=wordpiece.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings; another model by --config=configs/ptb.py:MODEL."""
    config = default_config(model)
    config.data.corpus = "ptb"
    return config
