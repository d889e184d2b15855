"""Table 2 of the paper: eight models and VAE-GPT2 as language models, latent 64.

python -m vaetx_jax.study --config=configs/study/table2.py --workdir=studies/paper

It needs an accelerator. --config.study.seeds='(0,)' trains one seed, --config.study.epochs.sst2=10
trains fewer epochs of a corpus (in cells of their own, by the hash in their names), and
--config.study.only='sst2-vae_*' trains a part of the grid. A cell's name is
CORPUS-MODEL-ANNEALING-zLATENT-sSEED-HASH; patterns leave the hash out.
VAE-GPT2 starts from GPT-2's weights only where --config.run.model.weights names them.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import LANGUAGE_ROWS, PAPER_CORPORA, default_study


def get_config() -> ConfigDict:
    """Nine rows, four corpora, three seeds."""
    config = default_study("table2", "grid")
    config.study.title = "Language modelling, latent 64 (Table 2)"
    config.study.show = ("language",)
    config.study.corpora = PAPER_CORPORA
    config.study.rows = (
        *LANGUAGE_ROWS,
        ("vae_gpt2", "none"),
    )
    return config
