"""Table 3 of the paper: linear probes of sentiment, latent 64.

python -m vaetx_jax.study --config=configs/study/table3.py --workdir=studies/paper

The cells are those of Table 2 and are not trained again. --config.study.only, seeds and epochs work
as there.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study


def get_config() -> ConfigDict:
    """Three rows, two corpora, three seeds."""
    config = default_study("table3", "grid")
    config.study.title = "Sentiment on SST-2 and AIR (Table 3)"
    config.study.show = ("probe",)
    config.study.corpora = ("sst2", "air")
    config.study.rows = (
        ("vae_transformer", "cyclic"),
        ("vae_lstm", "cyclic"),
        ("vae_gpt2", "none"),
    )
    return config
