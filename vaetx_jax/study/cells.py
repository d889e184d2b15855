"""The cells of a study: the runs it consists of and their names.

A cell is a run folder of its own, `cells/CORPUS-MODEL-ANNEALING-zZ-sSEED-HASH`. The hash covers all
settings that make the run what it is and are not in the name, so that every table that needs the
same run finds the same folder.
"""

import dataclasses
import hashlib
import json
from typing import Any

from ml_collections import ConfigDict

from vaetx_jax import paper
from vaetx_jax.config import keys, validation
from vaetx_jax.config.defaults import default_config
from vaetx_jax.errors import ConfigError
from vaetx_jax.models.presets import PRESET_FIELDS, PRESETS, has_latent
from vaetx_jax.run.workdir import PATH_KEYS

_HASHED = 8  # hexadecimal digits of a name
# These may differ between two studies that share a cell: they do not change what is trained.
_EVALUATION_KEYS = ("evaluation.", "samples.", "probe.")
# Nor do the paths of files, except those that are the corpus itself or an encoder.
_TRAINED_ON = {"data.train", "data.valid", "data.test", "data.vectors", "model.encoder_weights"}
_PATHS = set(PATH_KEYS) - _TRAINED_ON


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    corpus: str
    model: str
    annealing: str
    latent_dim: int  # 0: none
    seed: int
    config: ConfigDict

    @property
    def label(self) -> str:
        """The name without its hash, to which the patterns of `config.study.only` apply."""
        return f"{self.corpus}-{self.model}-{self.annealing}-z{self.latent_dim}-s{self.seed}"

    @property
    def name(self) -> str:
        """The folder's name."""
        default = default_config(self.model)
        changed = {
            key: new
            for key, (_, new) in keys.differences(default, self.config).items()
            if key not in _PATHS and not key.startswith(_EVALUATION_KEYS)
        }
        text = json.dumps(changed, sort_keys=True)
        return f"{self.label}-{hashlib.sha256(text.encode()).hexdigest()[:_HASHED]}"

    @property
    def program(self) -> tuple[Any, ...]:
        """Equal for cells of one program: those that differ in seed and annealing alone."""
        return self.corpus, self.model, self.latent_dim


def cells_of(config: ConfigDict) -> list[Cell]:
    """All cells of a grid, corpus by corpus, row by row, seed by seed.

    Raises:
      ConfigError: a cell's settings break a rule, or no model of the grid has one of them.
    """
    study = config.study
    changed = keys.differences(default_config(), config.run)
    models = [model for model, _ in study.rows]
    for key in changed:
        if not any(_has(model, config.run.model.preset, key) for model in models):
            raise ConfigError(f"config.run.{key}: no model of config.study.rows has this field")
    cells = []
    for corpus in study.corpora:
        for model, annealing in study.rows:
            for seed in study.seeds:
                run = cell_config(corpus, model, annealing, study.latent_dim, seed)
                for key, (_, value) in changed.items():
                    if _has(model, config.run.model.preset, key):
                        keys.set_value(run, key, value)
                if study.epochs[corpus]:
                    run.train.epochs, run.train.steps = study.epochs[corpus], 0
                latent = study.latent_dim if has_latent(model) else 0
                cells.append(Cell(corpus, model, annealing, latent, seed, run))
                try:
                    validation.validate(run)
                except ConfigError as error:
                    raise ConfigError(f"the cell {cells[-1].label}:\n{error}") from error
    return cells


def _has(model: str, preset: str, key: str) -> bool:
    """Whether the model has this setting, which may be meant for another row alone."""
    section, _, name = key.partition(".")
    own = section == "model" and name in {field.name for field in PRESET_FIELDS}
    return not own or name in PRESETS.get(preset, {}).get(model, {})


def cell_config(corpus: str, model: str, annealing: str, latent_dim: int, seed: int) -> ConfigDict:
    """The paper's settings of a run; a language model has no use for `latent_dim`."""
    run = default_config(model)
    run.seed, run.data.corpus, run.objective.annealing = seed, corpus, annealing
    run.data.max_len = paper.MAX_LEN.get(corpus, run.data.max_len)
    run.train.learning_rate = paper.LEARNING_RATE.get(corpus, run.train.learning_rate)
    if has_latent(model):
        run.model.latent_dim = latent_dim
    return run
