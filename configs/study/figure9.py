"""Figure 9 of the paper: learning curves of cross entropy and KL on the Penn Treebank.

python -m vaetx_jax.study --config=configs/study/figure9.py --workdir=studies/paper

The cells are those of Table 2 with seed 0. The figure is figure9-ptb-curves.png.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study


def get_config() -> ConfigDict:
    """Two models under three annealings."""
    config = default_study("figure9", "grid")
    config.study.title = "Learning curves on the Penn Treebank (Figure 9)"
    config.study.show = ("curves",)
    config.study.corpora = ("ptb",)
    config.study.rows = (
        ("vae_transformer", "none"),
        ("vae_transformer", "linear"),
        ("vae_transformer", "cyclic"),
        ("vae_lstm", "none"),
        ("vae_lstm", "linear"),
        ("vae_lstm", "cyclic"),
    )
    config.study.seeds = (0,)
    return config
