"""Table 4 of the paper: eight models as language models, latent 32.

python -m vaetx_jax.study --config=configs/study/table4.py --workdir=studies/paper

It needs an accelerator. --config.study.seeds='(0,)' trains one seed, --config.study.epochs.sst2=10
trains fewer epochs of a corpus (in cells of their own, by the hash in their names), and
--config.study.only='sst2-vae_*' trains a part of the grid. A cell's name is
CORPUS-MODEL-ANNEALING-zLATENT-sSEED-HASH; patterns leave the hash out.
Its cells are those of Table 5 without the GRU's; language models share theirs with Table 2.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import LANGUAGE_ROWS, PAPER_CORPORA, default_study


def get_config() -> ConfigDict:
    """Eight rows, four corpora, three seeds."""
    config = default_study("table4", "grid")
    config.study.title = "Language modelling, latent 32 (Table 4)"
    config.study.show = ("language",)
    config.study.corpora = PAPER_CORPORA
    config.study.rows = LANGUAGE_ROWS
    config.study.latent_dim = 32
    return config
