"""A small study of the built-in corpus, from training to report: three minutes on two cores.

python -m vaetx_jax.study --config=configs/study/smoke.py

Two models, two annealings, two seeds; the four cells of one model are trained in one program.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study


def get_config() -> ConfigDict:
    """Three rows and two seeds."""
    config = default_study("smoke", "grid")
    config.study.title = "A small study of the built-in corpus"
    config.study.show = ("language", "probe", "curves")
    config.study.corpora = ("grammar",)
    config.study.rows = (
        ("vae_transformer", "cyclic"),
        ("vae_transformer", "none"),
        ("transformer_lm", "none"),
    )
    config.study.latent_dim = 16
    config.study.seeds = (0, 1)
    config.study.together = 4
    run = config.run
    # Most of the time is compilation, of one program per padded length: one group has one length.
    run.data.sentences, run.data.held_out, run.data.groups, run.data.max_len = 2_000, 300, 1, 40
    run.tokenizer.vocab_size = 500
    run.model.dim = 32
    run.train.steps, run.train.log_every, run.objective.cycles = 80, 10, 2
    run.evaluation.iw_samples, run.samples.count = 10, 5
    run.probe.epochs = 2
    return config
