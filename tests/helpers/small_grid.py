"""A study of six small cells."""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study

ROWS = (("vae_gru", "cyclic"), ("vae_gru", "none"), ("gru_lm", "none"))


LABELS = [
    f"grammar-{model}-{annealing}-z{16 * model.startswith('vae')}-s{seed}"
    for model, annealing in ROWS
    for seed in (0, 1)
]


def study_of(rows=ROWS, **settings) -> ConfigDict:
    config = default_study("made", "grid")
    config.study.corpora, config.study.rows, config.study.seeds = ("grammar",), rows, (0, 1)
    config.study.latent_dim = 16
    config.study.update(settings)
    return config
