"""The settings of a study: its name, its kind, and what the kind needs (`study_kinds`)."""

import fnmatch
import re

from ml_collections import ConfigDict

from vaetx_jax import paper
from vaetx_jax.config.study_kinds import KINDS
from vaetx_jax.errors import ConfigError
from vaetx_jax.settings import choices

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


def default_study(name: str, kind: str) -> ConfigDict:
    """A study without rows; a config file under `configs/study/` gives it some.

    Args:
      name: the results are NAME.json and NAME.md.
      kind: `parameters` counts the models' parameters; `timing` times their forward passes;
        `schedules` draws alpha(t); `grid` trains, evaluates and compares a grid of runs.

    Raises:
      ConfigError: there is no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"the kind {kind!r} of a study: {choices(kind, KINDS)}")
    config = KINDS[kind].defaults()
    config.study.name = name
    config.study.kind = kind
    config.study.only = ""  # comma-separated patterns of rows, with * and ?; empty: all
    config.lock()
    return config


def validate_study(config: ConfigDict) -> None:
    """Checks a study's settings.

    Raises:
      ConfigError: one line for each broken rule.
    """
    if "study" not in config:
        raise ConfigError("--config: this is not the config of a study; those are in configs/study")
    study, problems = config.study, []
    if not re.fullmatch(r"[\w-][\w.-]*", str(study.name)):
        problems.append(
            f"config.study.name = {study.name!r}: it names the study's files; use letters, digits, "
            "_, - and . alone"
        )
    if study.kind not in KINDS:
        problems.append(f"config.study.kind = {study.kind!r}: {choices(study.kind, KINDS)}")
    elif missing := set(KINDS[study.kind].defaults().study) - set(study):
        problems.append(
            f"config.study.kind = {study.kind!r}: this config is of another kind, without "
            f"{', '.join(f'config.study.{key}' for key in sorted(missing))}"
        )
    else:
        problems += KINDS[study.kind].problems(config)
    if problems:
        raise ConfigError("\n".join(problems))


def select(names: list[str], only: str) -> list[str]:
    """Selects the names that match a pattern, in their order.

    Args:
      names: of rows or cells.
      only: comma-separated patterns, with * and ?; empty: all names.

    Raises:
      ConfigError: a pattern matches none.
    """
    patterns = [part.strip() for part in only.split(",") if part.strip()]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ConfigError(
                f"config.study.only: {pattern!r} matches none of {', '.join(names)}; * stands for "
                "any characters"
            )
    if not patterns:
        return names
    return [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]
