"""Any model on the built-in grammar by the same small budget, to compare models before a long run.

    python -m vaetx_jax.main --config=configs/grammar.py:vae_gru

Expected: two to four minutes on two cores (1,881 steps); docs/concepts.md has the results of all
models. No remedy but the paper's cyclic annealing is on, so the text VAEs collapse or nearly so;
`configs/demo.py` has one that does not.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.models.presets import has_latent


def get_config(model: str = "vae_transformer") -> ConfigDict:
    """The budget; the better Transformer by --config.model.preset=modern."""
    config = default_config(model)
    config.data.corpus = "grammar"
    config.data.max_len = 48
    config.data.groups = 3  # few lengths, so that little is compiled
    config.tokenizer.vocab_size = 590
    if has_latent(model):
        config.model.latent_dim = 32
    config.objective.cycles = 2
    config.train.epochs = 3
    config.evaluation.iw_samples = 20
    return config
