"""Table 2 of the paper: eight models and VAE-GPT2 as language models, latent 64.

python -m vaetx_jax.study --config=configs/study/table2.py --workdir=studies/paper

It wants an accelerator: --config.study.seeds='(0,)' takes one seed, --config.study.epochs.sst2=10
fewer epochs of a corpus (other cells: the hash in their names tells them apart), and
--config.study.only='sst2-vae_*' a part of the grid. Cells are CORPUS-MODEL-ANNEALING-zLATENT-sSEED.
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
