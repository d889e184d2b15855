"""Table 7 of the paper: seconds of the forward passes over the training sets, at two dimensions.

python -m vaetx_jax.study --config=configs/study/table7.py

Expected on two cores: some fifteen minutes, for 8 batches of each training set (an accelerator
measures all). Rows are named CORPUS-MODEL-DIM: --config.study.only='ptb-*-128' selects six of them.
--config.study.trace=FOLDER also writes a profiler trace.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study


def get_config() -> ConfigDict:
    """Six models, two corpora, two dimensions."""
    config = default_study("table7", "timing")
    config.study.corpora = ("ptb", "wikitext2")
    config.study.models = (
        "vae_transformer",
        "vae_lstm",
        "vae_gru",
        "transformer_lm",
        "lstm_lm",
        "gru_lm",
    )
    config.study.dims = (128, 1024)
    return config
