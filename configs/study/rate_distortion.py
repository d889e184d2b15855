"""The figure of rate against distortion in docs/concepts.md, as sweeps on the built-in grammar.

python -m vaetx_jax.study --config=configs/study/rate_distortion.py
python -m vaetx_jax.study --config=configs/study/rate_distortion.py:recipe

The first is one model with more and more free bits, the second the recipe of configs/demo.py at
three rates; each has its language model. Six cells of 1,881 steps and four of 2,200, each two to
four minutes on two cores: half an hour in all. Another sweep is another curve, such as
--config.study.sweep="{'objective.beta': (0.25, 0.5, 1.0)}".
"""

from typing import Any

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.keys import differences, set_value
from vaetx_jax.config.living_latent import keep_latent_alive
from vaetx_jax.config.study import default_study

MODEL = "vae_transformer"


def get_config(curve: str = "free_bits") -> ConfigDict:
    """Rate and distortion along one curve: `free_bits` or `recipe`.

    Raises:
      ValueError: there is no such curve.
    """
    if curve not in ("free_bits", "recipe"):
        raise ValueError(f"rate_distortion.py:{curve}: free_bits or recipe")
    config = default_study(f"rate_distortion_{curve}", "grid")
    config.study.title = "Rate against distortion on the grammar"
    config.study.show = ("remedies",)
    config.study.corpora = ("grammar",)
    config.study.latent_dim = 32
    config.study.seeds = (0,)
    run = config.run
    if curve == "recipe":
        settings = _recipe(run)
        config.study.sweep = {"model.channel_rate": (4.0, 7.0, 12.0)}
    else:
        settings = {"objective.cycles": 1, "model.pooling": "mean", "model.latent_input": True}
        settings["model.word_dropout"] = 0.3
        run.objective.cycles, run.train.epochs = 2, 3
        config.study.sweep = {"objective.free_bits": (0.0, 0.1, 0.25, 0.5, 1.0)}
    annealing = settings.pop("objective.annealing", "cyclic")
    config.study.rows = ((MODEL, annealing, "VAE", settings), ("transformer_lm", "none"))
    run.data.max_len, run.data.groups, run.tokenizer.vocab_size = 48, 3, 590
    run.evaluation.iw_samples = 20
    return config


def _recipe(run: ConfigDict) -> dict[str, Any]:
    """Sets what the recipe has in common with its language model; returns the rest of it."""
    language_model, recipe = default_config("transformer_lm"), default_config(MODEL)
    for config in (language_model, recipe):
        keep_latent_alive(config)
        config.data.batch_size, config.model.dropout, config.train.steps = 32, 0.05, 2_200
    recipe.train.learning_rate, recipe.train.warm_up_learning_rate = 2e-3, 3e-3
    recipe.train.warm_up_share = 0.6
    for key, (_, value) in differences(default_config("transformer_lm"), language_model).items():
        if key != "objective.annealing":  # the rows say which
            set_value(run, key, value)
    changed = {key: new for key, (_, new) in differences(run, recipe).items()}
    return {key: value for key, value in changed.items() if not key.startswith("probe.")}
