"""Table 6 of the paper: linear probes of sentiment, latent 64, with the GRU.

python -m vaetx_jax.study --config=configs/study/table6.py --workdir=studies/paper

Two of the three rows are Table 3's, and those cells are not trained again.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study


def get_config() -> ConfigDict:
    """Three rows, two corpora, three seeds."""
    config = default_study("table6", "grid")
    config.study.title = "Sentiment on SST-2 and AIR, with the GRU (Table 6)"
    config.study.show = ("probe",)
    config.study.corpora = ("sst2", "air")
    config.study.rows = (
        ("vae_transformer", "cyclic"),
        ("vae_lstm", "cyclic"),
        ("vae_gru", "cyclic"),
    )
    return config
