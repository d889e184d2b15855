"""The settings of a study: what it is called, what it does, over which rows."""

import fnmatch
import re

from ml_collections import ConfigDict

from vaetx_jax import paper
from vaetx_jax.config.defaults import PRECISIONS, default_config
from vaetx_jax.config.keys import differences
from vaetx_jax.data.corpora.corpus import CORPORA, UNLABELLED
from vaetx_jax.data.tokenizers.base import KINDS as TOKENIZERS
from vaetx_jax.errors import ConfigError
from vaetx_jax.losses.annealing import ANNEALINGS
from vaetx_jax.models.presets import MODELS, has_latent
from vaetx_jax.settings import closest

KINDS = ("parameters", "timing", "schedules", "grid")
SHOWN = ("language", "probe", "curves")
PAPER_CORPORA = tuple(paper.MAX_LEN)  # in its tables' order
# (model, annealing) of the rows that Tables 2, 4 and 5 have in common.
LANGUAGE_ROWS = (
    ("vae_transformer", "cyclic"),
    ("vae_transformer", "linear"),
    ("vae_transformer", "none"),
    ("transformer_lm", "none"),
    ("vae_lstm", "cyclic"),
    ("vae_lstm", "linear"),
    ("vae_lstm", "none"),
    ("lstm_lm", "none"),
)
# What a grid's rows, corpora and seeds decide; `config.run` may not.
AXES = ("data.corpus", "model.name", "model.latent_dim", "objective.annealing", "seed")


def default_study(name: str, kind: str) -> ConfigDict:
    """A study without rows; a config file under `configs/study/` gives it some.

    Args:
      name: the results are NAME.json and NAME.md.
      kind: `parameters` counts the models' parameters; `timing` times their forward passes;
        `schedules` draws alpha(t); `grid` trains, judges and compares a grid of runs.
    """
    config = ConfigDict()
    config.study = ConfigDict()
    config.study.name = name
    config.study.kind = kind
    config.study.only = ""  # patterns of rows, with * and ?, parted by commas; empty: all
    if kind == "parameters":
        config.study.sizes = ()  # (model, dimension, vocabulary size), ...
    if kind == "timing":
        config.study.corpora = ()
        config.study.models = ()
        config.study.dims = ()
        config.study.batch_size = 32  # sentences a device
        config.study.tokenizer = "wordpiece"  # the paper's 30,522 pieces
        config.study.precision = "float32"
        config.study.repetitions = 3
        config.study.sample = -1  # batches; 0: all; -1: all on an accelerator, a few on a CPU
        config.study.trace = ""  # a folder for a profiler trace
        config.data = ConfigDict()
        config.data.manual_dir = ""  # as in a run's config
        config.data.cache_dir = ""
    if kind == "schedules":
        config.study.cycles = 5
        config.study.ratio = 0.5
    if kind == "grid":
        config.study.title = ""
        config.study.show = ("language",)  # the tables and figures: some of `SHOWN`
        config.study.rows = ()  # (model, annealing), ...; a language model's annealing is none
        config.study.corpora = ()
        config.study.latent_dim = 64
        config.study.seeds = (0, 1, 2)
        # Of each corpus; 0: config.run.train's.
        config.study.epochs = ConfigDict(dict.fromkeys(CORPORA, 0))
        # Cells of one program; 0: all that differ in seed or annealing alone where there is an
        # accelerator, one on a CPU.
        config.study.together = 0
        # What differs here from the defaults of a run holds for every cell.
        config.run = default_config()
    config.lock()
    return config


def validate_study(config: ConfigDict) -> None:
    """Checks a study's settings.

    Raises:
      ConfigError: one line for each broken rule.
    """
    if "study" not in config:
        raise ConfigError("--config: no config of a study; those are in configs/study/")
    problems = []
    if config.study.kind not in KINDS:
        have = f"{', '.join(KINDS)}{closest(config.study.kind, KINDS)}"
        problems.append(f"config.study.kind = {config.study.kind!r}: must be one of {have}")
    if not re.fullmatch(r"[\w-][\w.-]*", str(config.study.name)):
        problems.append(
            f"config.study.name = {config.study.name!r}: its files are named so; letters, digits, "
            "_, - and . alone"
        )
    for size in config.study.get("sizes", ()):
        fits = isinstance(size, tuple | list) and len(size) == 3
        if not fits or size[0] not in MODELS or size[1] < 1 or size[2] < 5:
            wanted = f"(model of {', '.join(MODELS)}; dimension; vocabulary of 5 and more)"
            problems.append(f"config.study.sizes: {size!r} is no {wanted}")
    for kind, key in (("grid", "rows"), ("timing", "dims"), ("schedules", "cycles")):
        if config.study.kind == kind and key not in config.study:
            raise ConfigError(f"config.study.kind = {kind!r}: this config has no settings of one")
    if config.study.kind == "timing":
        problems += _timing_problems(config.study)
    if config.study.kind == "grid":
        problems += _grid_problems(config)
    if problems:
        raise ConfigError("\n".join(problems))


def _grid_problems(config: ConfigDict) -> list[str]:
    study, problems = config.study, []
    for name in study.show:
        if name not in SHOWN:
            have = f"{', '.join(SHOWN)}{closest(name, SHOWN)}"
            problems.append(f"config.study.show = {name!r}: must be some of {have}")
    for corpus in study.corpora:
        if corpus not in CORPORA:
            have = f"{', '.join(CORPORA)}{closest(corpus, CORPORA)}"
            problems.append(f"config.study.corpora = {corpus!r}: must be some of {have}")
    for row in study.rows:
        fits = isinstance(row, tuple | list) and len(row) == 2
        if not fits or row[0] not in MODELS or row[1] not in ANNEALINGS:
            wanted = f"(model of {', '.join(MODELS)}; annealing of {', '.join(ANNEALINGS)})"
            problems.append(f"config.study.rows: {row!r} is no {wanted}")
        elif not has_latent(row[0]) and row[1] != "none":
            problems.append(f"config.study.rows: {tuple(row)!r}: {row[0]} has no KL to anneal")
    for key in ("rows", "corpora", "seeds"):
        if not study[key]:
            problems.append(f"config.study.{key}: must name at least one")
        if len(set(map(str, study[key]))) < len(study[key]):
            problems.append(f"config.study.{key} = {study[key]}: names one of them twice")
    if "probe" in study.show:
        problems += [
            f"config.study.corpora: {corpus} has no labels, and config.study.show asks for a probe"
            for corpus in study.corpora
            if corpus in UNLABELLED
        ]
    if not all(isinstance(seed, int) and seed >= 0 for seed in study.seeds):
        problems.append(f"config.study.seeds = {study.seeds}: must be whole numbers from 0 on")
    for key, least in (("latent_dim", 1), ("together", 0)):
        if study[key] < least:
            problems.append(f"config.study.{key} = {study[key]}: must be at least {least}")
    for corpus, epochs in study.epochs.items():
        if epochs < 0:
            problems.append(f"config.study.epochs.{corpus} = {epochs}: must be at least 0")
    changed = differences(default_config(), config.run)
    problems += [
        f"config.run.{key}: the grid decides it; change config.study instead"
        for key in AXES
        if key in changed
    ]
    return problems


def _timing_problems(study: ConfigDict) -> list[str]:
    problems = []
    allowed = {
        "corpora": set(CORPORA) - {"text"},
        "models": set(MODELS),
        "tokenizer": set(TOKENIZERS),
        "precision": set(PRECISIONS),
    }
    for key, names in allowed.items():
        values = (study[key],) if isinstance(study[key], str) else study[key]
        problems += [
            f"config.study.{key} = {value!r}: must be one of {', '.join(sorted(names))}"
            f"{closest(value, names)}"
            for value in values
            if value not in names
        ]
    for key, least in (("batch_size", 1), ("repetitions", 1), ("sample", -1)):
        if study[key] < least:
            problems.append(f"config.study.{key} = {study[key]}: must be at least {least}")
    if not all(isinstance(dim, int) and dim >= 1 for dim in study.dims):
        problems.append(f"config.study.dims = {study.dims}: must be whole numbers above 0")
    return problems


def chosen(names: list[str], only: str) -> list[str]:
    """The names that one of the patterns fits, in their order.

    Raises:
      ConfigError: a pattern fits none.
    """
    patterns = [part.strip() for part in only.split(",") if part.strip()]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ConfigError(
                f"config.study.only: {pattern!r} fits none of {', '.join(names)}; * stands for "
                "any characters"
            )
    if not patterns:
        return names
    return [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]
