"""The settings of a study: what it is called, what it does, over which rows."""

import fnmatch

from ml_collections import ConfigDict

from vaetx_jax.config import CORPORA, PRECISIONS, TOKENIZERS, closest
from vaetx_jax.errors import ConfigError
from vaetx_jax.presets import MODELS

KINDS = ("parameters", "timing")


def default_study(name: str, kind: str) -> ConfigDict:
    """A study without rows; a config file under `configs/study/` gives it some.

    Args:
      name: the results are NAME.json and NAME.md.
      kind: `parameters` counts the models' parameters; `timing` times their forward passes.
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
    for size in config.study.get("sizes", ()):
        model, dim, vocab_size = size
        if model not in MODELS or dim < 1 or vocab_size < 5:
            wanted = f"(model of {', '.join(MODELS)}; dimension; vocabulary of 5 and more)"
            problems.append(f"config.study.sizes: {tuple(size)!r} is no {wanted}")
    if config.study.kind == "timing":
        problems += _timing_problems(config.study)
    if problems:
        raise ConfigError("\n".join(problems))


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
