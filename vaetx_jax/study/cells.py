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
from vaetx_jax.config.study_rows import Row, rows_of, set_keys
from vaetx_jax.errors import ConfigError
from vaetx_jax.models.presets import ENCODERS, PRESET_FIELDS, PRESETS, choices_of, has_latent
from vaetx_jax.run.workdir import PATH_KEYS, SOURCE_KEYS

_HASHED = 8  # hexadecimal digits of a name
# These may differ between two studies that share a cell: they do not change what is trained.
_EVALUATION_KEYS = ("evaluation.", "samples.", "probe.")
# Nor do the paths of files, except those that say what is trained on.
_PATHS = set(PATH_KEYS) - SOURCE_KEYS


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    corpus: str
    model: str
    annealing: str
    latent_dim: int  # 0: none
    seed: int
    config: ConfigDict
    row: Row | None = None  # None: one without a name

    @property
    def _run_label(self) -> str:
        return f"{self.corpus}-{self.model}-{self.annealing}-z{self.latent_dim}-s{self.seed}"

    @property
    def label(self) -> str:
        """The name without its hash, to which the patterns of `config.study.only` apply.

        A named row's ends with that name; the folder's name, which other studies share, does not.
        """
        named = self.row.slug if self.row else ""
        return self._run_label + f"-{named}" * bool(named)

    @property
    def key(self) -> tuple[str, str, str]:
        """(model, annealing, name) of its row: equal for the seeds and corpora of one row."""
        return self.model, self.annealing, self.row.name if self.row else ""

    @property
    def title(self) -> str:
        """The name of its row in tables and figures."""
        return Row(*self.key).title

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
        return f"{self._run_label}-{hashlib.sha256(text.encode()).hexdigest()[:_HASHED]}"

    @property
    def program(self) -> tuple[Any, ...]:
        """Equal for cells of one program: those that differ in seed and annealing alone.

        A run that may stop early has a program of its own.
        """
        settings = str(self.row.settings) if self.row else "()"
        alone = self.name if self.config.train.patience else ""
        return self.corpus, self.model, self.latent_dim, settings, alone


def cells_of(config: ConfigDict) -> list[Cell]:
    """All cells of a grid, corpus by corpus, row by row, seed by seed.

    Raises:
      ConfigError: a cell's settings break a rule, or no row of the grid has one of them, or two
        rows are the same runs.
    """
    study, rows = config.study, rows_of(config.study)
    changed = keys.differences(default_config(), config.run)
    for key in changed:
        if not any(_has(row, config.run, key) for row in rows):
            raise ConfigError(f"config.run.{key}: no model of config.study.rows has this field")
    cells: dict[str, Cell] = {}
    for corpus in study.corpora:
        for row in rows:
            for seed in study.seeds:
                cell = _cell(config, corpus, row, seed)
                same = cells.setdefault(cell.name, cell)
                if same is not cell:
                    raise ConfigError(
                        f"config.study.rows: {same.title} and {row.title} have the same settings"
                    )
    return list(cells.values())


def _cell(config: ConfigDict, corpus: str, row: Row, seed: int) -> Cell:
    """A cell of a grid; its config is checked."""
    study = config.study
    run = cell_config(corpus, row.model, row.annealing, study.latent_dim, seed)
    for key, (_, value) in keys.differences(default_config(), config.run).items():
        if _has(row, config.run, key):
            set_keys(run, [(key, value)], "config.run")
    if study.epochs[corpus]:
        run.train.epochs, run.train.steps = study.epochs[corpus], 0
    set_keys(run, row.settings, f"the row {row.title} of config.study")
    annealing, latent = run.objective.annealing, run.model.latent_dim or 0
    cell = Cell(corpus, row.model, annealing, latent, seed, run, row)
    try:
        validation.validate(run)
    except ConfigError as error:
        raise ConfigError(f"the cell {cell.label}:\n{error}") from error
    return cell


def _has(row: Row, run: ConfigDict, key: str) -> bool:
    """Whether a row's model has this setting of `config.run`, which may be another row's alone."""
    section, _, name = key.partition(".")
    if section != "model" or name not in {field.name for field in PRESET_FIELDS}:
        return True
    own = dict(row.settings)
    preset, encoder = (own.get(f"model.{key}", run.model[key]) for key in ("preset", "encoder"))
    if row.model not in PRESETS.get(preset, {}):
        return False
    return name in choices_of(preset, row.model, encoder if encoder in ENCODERS else None)


def cell_config(corpus: str, model: str, annealing: str, latent_dim: int, seed: int) -> ConfigDict:
    """The paper's settings of a run; a language model has no use for `latent_dim`."""
    run = default_config(model)
    run.seed, run.data.corpus, run.objective.annealing = seed, corpus, annealing
    run.data.max_len = paper.MAX_LEN.get(corpus, run.data.max_len)
    run.train.learning_rate = paper.LEARNING_RATE.get(corpus, run.train.learning_rate)
    if has_latent(model):
        run.model.latent_dim = latent_dim
    return run
