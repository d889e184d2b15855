"""Table 8 of the paper: the parameter counts of all models and the published ones.

python -m vaetx_jax.study --config=configs/study/table8.py

Expected: some ten seconds; all 13 counts equal. One row: --config.study.only=vae_gru-1024
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study

MODELS = ("vae_transformer", "vae_lstm", "vae_gru", "transformer_lm", "lstm_lm", "gru_lm")
BERT_TOKENS = 30_522
GPT2_TOKENS = 50_259  # with two tokens added


def get_config() -> ConfigDict:
    """Twelve sizes of Table 8, and VAE-GPT of Table 1."""
    config = default_study("table8", "parameters")
    sizes = [(model, dim, BERT_TOKENS) for model in MODELS for dim in (128, 1024)]
    config.study.sizes = (*sizes, ("vae_gpt2", 768, GPT2_TOKENS))
    return config
