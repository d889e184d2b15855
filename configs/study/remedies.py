"""The remedies against posterior collapse, compared at one budget.

python -m vaetx_jax.study --config=configs/study/remedies.py

Two corpora, ten remedies, the plain VAE and the language model with the same decoder: 24 cells of
one to three minutes on one core. --config.study.seeds='(0,1,2)' adds seeds,
--config.study.only='grammar-*' takes one corpus.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study

MODEL = "vae_transformer"
RATE = 6.0  # nats per sentence, for the remedies that aim at one


def get_config() -> ConfigDict:
    """Eleven rows with a latent and one without, one seed."""
    config = default_study("remedies", "grid")
    config.study.title = "Remedies against posterior collapse"
    config.study.show = ("remedies",)
    config.study.corpora = ("grammar", "sst2")
    start = {"train.warm_up": "autoencoder", "train.warm_up_share": 0.3}
    bits = {"objective.free_bits": 0.25}  # 8 nats over 32 dimensions
    rate = {"objective.target_rate": RATE}
    channel = {"model.channel_rate": RATE}
    recipe = channel | {
        "train.warm_up": "language_model",
        "train.warm_up_share": 0.6,
        "model.encoder": "bag",
        "model.encoder_start": "lsa",
        "model.freeze": "encoder",
        "model.latent_attention": False,
        "model.latent_output": True,
        "model.latent_output_start": "regression",
    }
    config.study.rows = (
        (MODEL, "none", "plain ELBO", {}),
        (MODEL, "cyclic", "cyclic", {"objective.cycles": 4}),
        (MODEL, "none", "free bits", bits),
        (MODEL, "none", "autoencoder start, free bits", start | bits),
        (MODEL, "none", "target rate, hinge", rate),
        (MODEL, "none", "target rate, lagrange", rate | {"objective.rate_mode": "lagrange"}),
        (MODEL, "none", "mu_norm", {"model.mu_norm": 0.6}),  # at least 32 * 0.6^2 / 2 = 5.8 nats
        (MODEL, "none", "channel", channel),
        (MODEL, "none", "language model start, LSA, channel", recipe),
        (MODEL, "none", "bag of words", {"objective.bow": 1.0}),
        (MODEL, "none", "mmd", {"objective.beta": 0.25, "objective.mmd": 10.0}),
        (MODEL, "none", "aggressive", {"objective.aggressive": 0.3}),
        ("transformer_lm", "none"),
    )
    config.study.latent_dim = 32
    config.study.seeds = (0,)
    run = config.run
    run.data.sentences, run.data.held_out, run.data.groups, run.data.max_len = 6_000, 1_000, 1, 40
    run.tokenizer.vocab_size = 2_000
    run.model.dim, run.model.latent_input, run.model.word_dropout = 64, True, 0.1
    run.model.pooling, run.model.output_start = "mean", "unigrams"
    run.objective.cycles = 1
    run.train.steps, run.train.learning_rate, run.train.validate_every = 1_000, 2e-3, 500
    run.evaluation.iw_samples, run.samples.count = 50, 5
    return config
