"""All settings: their defaults, their meaning and every rule between them.

A config file starts from `default_config(model)` and changes what differs; the command line
changes single keys (`--config.model.latent_dim=32`, type-checked). `validate` then checks every
rule at once. A run keeps its config as `WORKDIR/config.json`.
"""

from ml_collections import ConfigDict, config_dict

from vaetx_jax.config.keys import choices
from vaetx_jax.errors import ConfigError
from vaetx_jax.models.presets import (
    MODELS,
    PLAIN_TYPE,
    PRESET_FIELDS,
    has_latent,
)

# What the layers compute in while training. Parameters, sums, latents and all of evaluation are
# float32 in any case.
PRECISIONS = ("float32", "bfloat16")


NONFINITE = ("stop", "skip")


PROBE_LATENTS = ("sample", "mean")


PROBE_FITS = ("paper", "closed")


def default_config(model: str = "vae_transformer") -> ConfigDict:
    """The paper's settings on `grammar`; a config file says what differs.

    Args:
      model: what stands behind the colon in `--config=configs/ptb.py:MODEL`.

    Raises:
      ConfigError: there is no such model.
    """
    if model not in MODELS:
        raise ConfigError(
            f"model {model!r} (behind the colon of --config): {choices(model, MODELS)}"
        )
    config = ConfigDict()
    config.seed = 0  # initialisation, dropout and latent noise

    config.data = ConfigDict()
    config.data.corpus = "grammar"
    config.data.manual_dir = ""  # a folder with the corpus's files; empty: download them
    config.data.cache_dir = ""  # built corpora, ids, compiled programs; empty: see cache_dir()
    config.data.max_len = 64  # pieces of a sentence, [CLS] and [SEP] counted; longer ones are cut
    config.data.batch_size = 32  # sentences a step, over all devices
    config.data.seed = 0  # the order of the batches
    config.data.batching = "groups"  # by length; "pad": every row max_len long, as the paper's
    config.data.groups = 8  # lengths that are compiled; fewer leave more padding
    config.data.train = ""  # the files of `text`
    config.data.valid = ""
    config.data.test = ""
    config.data.valid_share = 0.1  # held out of data.train by hash where there is no file
    config.data.test_share = 0.1
    config.data.sentences = 20_000  # training rows of `grammar`
    config.data.held_out = 2_000  # rows of its validation and of its test split

    config.mesh = ConfigDict()
    # The optimizer's moments and the large tables split over the devices: less memory on each, more
    # traffic between them.
    config.mesh.shard_state = False

    config.tokenizer = ConfigDict()
    config.tokenizer.kind = "gpt2" if model == "vae_gpt2" else "bpe"
    config.tokenizer.vocab_size = 30_522  # at most; a small corpus gives fewer pieces
    config.tokenizer.vocab_dir = ""  # bert/vocab.txt, gpt2/...; empty: data.manual_dir

    config.model = ConfigDict()
    config.model.name = model
    config.model.preset = "paper"
    config.model.dim = 768 if model == "vae_gpt2" else 128
    config.model.latent_dim = config_dict.placeholder(int)
    if has_latent(model):
        config.model.latent_dim = 64
    # Unset keys are as the preset has them (`ModelSettings` says what each is).
    for field in PRESET_FIELDS:
        config.model[field.name] = config_dict.placeholder(PLAIN_TYPE[field.type])  # type: ignore[index]

    config.objective = ConfigDict()
    config.objective.annealing = "cyclic"
    config.objective.cycles = 5  # M; the learning rate restarts with them
    config.objective.ratio = 0.5  # R, the share of a cycle in which alpha rises
    config.objective.free_bits = 0.0  # nats a dimension that cost nothing; 0: off

    config.train = ConfigDict()
    config.train.epochs = 50
    config.train.steps = 0  # wins over epochs if positive
    config.train.learning_rate = 1e-3
    config.train.final_learning_rate = 1e-7
    config.train.weight_decay = 0.1
    config.train.decay = config_dict.placeholder(str)  # all or matrices; unset: as the preset
    config.train.beta1 = 0.9
    config.train.beta2 = 0.999
    config.train.clip_norm = 0.0  # largest global norm of the gradient; 0: never clipped
    config.train.nonfinite = "stop"  # at a loss or gradient that is not finite; or skip the step
    config.train.precision = "float32"  # of training's products; or bfloat16
    config.train.init_from = ""  # a work folder whose parameters this run starts from
    config.train.log_every = 50  # steps
    config.train.validate_every = 0  # steps; 0: every epoch. The ends of cycles always count
    config.train.checkpoint_every = 0  # steps; 0: with each validation

    config.evaluation = ConfigDict()
    config.evaluation.batch_size = 32
    config.evaluation.iw_samples = 50  # of the importance-weighted bound; 0: leave it out
    config.evaluation.seed = 0

    config.probe = ConfigDict()
    config.probe.latent = "sample"  # what the classifier reads: z from the posterior, or its mean
    config.probe.fit = "paper"  # AdamW as the paper's; "closed": L2-regularised to the optimum
    config.probe.epochs = 20  # these three are the paper's fit's alone
    config.probe.learning_rate = 1e-4
    config.probe.batch_size = 32
    config.probe.seed = 0

    config.samples = ConfigDict()
    config.samples.count = 10  # sentences drawn from the prior after training; 0: no samples
    config.samples.temperature = 1.0
    config.samples.seed = 0
    config.lock()
    return config
