"""The settings of a study: what it is called, what it does, over which rows."""

import fnmatch

from ml_collections import ConfigDict

from vaetx_jax.config import closest
from vaetx_jax.errors import ConfigError
from vaetx_jax.presets import MODELS

KINDS = ("parameters",)


def default_study(name: str, kind: str) -> ConfigDict:
    """A study without rows; a config file under `configs/study/` gives it some.

    Args:
      name: the results are NAME.json and NAME.md.
      kind: `parameters` counts the models' parameters.
    """
    config = ConfigDict()
    config.study = ConfigDict()
    config.study.name = name
    config.study.kind = kind
    config.study.only = ""  # patterns of rows, with * and ?, parted by commas; empty: all
    if kind == "parameters":
        config.study.sizes = ()  # (model, dimension, vocabulary size), ...
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
    if problems:
        raise ConfigError("\n".join(problems))


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
