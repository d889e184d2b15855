"""A tiny run on the built-in corpus, for the tests that need a trained model."""

import pathlib

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.run import workdir
from vaetx_jax.run.run import create_run
from vaetx_jax.training import trainer as trainer_lib

STEPS = 40


def tiny_config(cache: pathlib.Path) -> ConfigDict:
    config = default_config()
    config.data.cache_dir = str(cache)
    config.data.sentences, config.data.held_out = 200, 40
    config.data.batch_size, config.data.groups, config.data.max_len = 8, 1, 40
    config.tokenizer.vocab_size = 200
    config.model.dim, config.model.latent_dim, config.model.layers = 8, 4, 1
    config.objective.cycles = 2
    config.train.steps, config.train.log_every, config.train.validate_every = STEPS, 3, 10
    config.evaluation.iw_samples, config.evaluation.text_samples = 2, 0
    config.samples.count = 2
    return config


def fit(config: ConfigDict, folder: pathlib.Path) -> trainer_lib.Trainer:
    folder.mkdir(exist_ok=True)
    workdir.keep_config(folder, config)
    trainer = trainer_lib.Trainer(create_run(config, folder))
    trainer.run(trainer.start_state()[0])
    return trainer
