"""The cells of a study: which runs it holds, what each is called, and whether it is finished.

A cell is a run folder of its own, `cells/CORPUS-MODEL-ANNEALING-zZ-sSEED-HASH`. The hash is of all
that makes the run what it is and is not in the name, so that every table that wants the same run
finds the same folder. A finished cell carries a seal, the sha256 of its files, written last: what
is not as it was when the cell was finished is never averaged in.
"""

import dataclasses
import enum
import hashlib
import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from vaetx_jax import paper
from vaetx_jax.config import keys, validation
from vaetx_jax.config.defaults import default_config
from vaetx_jax.errors import ConfigError
from vaetx_jax.models.presets import PRESET_FIELDS, PRESETS, has_latent
from vaetx_jax.run.metric_log import METRICS
from vaetx_jax.run.workdir import CHECKPOINTS, CONFIG, PLACES, TOKENIZER
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.manifest import rename_damaged, sha256_of

SEAL = "cell.json"
EVALUATION = "evaluation-test.json"
PROBE = "probe.json"
_HASHED = 8  # hexadecimal digits of a name

# May differ between two studies that share a cell: nothing is trained anew for it.
_EVALUATION_KEYS = ("evaluation.", "samples.", "probe.")
# Nor for where files lie, but for those that are the corpus itself.
_ELSEWHERE = set(PLACES) - {"data.train", "data.valid", "data.test"}


class Condition(enum.Enum):
    """What is to be done with a cell."""

    OPEN = "to be trained, or trained on"
    STALE_METRICS = "trained; its figures are missing, damaged or of other settings"
    DAMAGED = "finished once, but what it trained is not as it was"
    FINISHED = "finished"


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
        """The name without its hash; `config.study.only` picks by it."""
        return f"{self.corpus}-{self.model}-{self.annealing}-z{self.latent_dim}-s{self.seed}"

    @property
    def name(self) -> str:
        """The folder's name."""
        default = default_config(self.model)
        changed = {
            key: new
            for key, (_, new) in keys.differences(default, self.config).items()
            if key not in _ELSEWHERE and not key.startswith(_EVALUATION_KEYS)
        }
        text = json.dumps(changed, sort_keys=True)
        return f"{self.label}-{hashlib.sha256(text.encode()).hexdigest()[:_HASHED]}"

    @property
    def program(self) -> tuple[Any, ...]:
        """Cells of one program are equal in this: they differ in seed and annealing alone."""
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
    """Whether a setting is one of this model's: it may be there for another row alone."""
    section, _, name = key.partition(".")
    own = section == "model" and name in {field.name for field in PRESET_FIELDS}
    return not own or name in PRESETS.get(preset, {}).get(model, {})


def cell_config(corpus: str, model: str, annealing: str, latent_dim: int, seed: int) -> ConfigDict:
    """The paper's settings of a run; `latent_dim` is of no use to a language model."""
    run = default_config(model)
    run.seed, run.data.corpus, run.objective.annealing = seed, corpus, annealing
    run.data.max_len = paper.MAX_LEN.get(corpus, run.data.max_len)
    run.train.learning_rate = paper.LEARNING_RATE.get(corpus, run.train.learning_rate)
    if has_latent(model):
        run.model.latent_dim = latent_dim
    return run


def seal(folder: pathlib.Path, facts: dict[str, Any]) -> None:
    """Marks a cell as finished, with facts of how it came about."""
    files = {str(path.relative_to(folder)): _sha256(path) for path in _files(folder)}
    write_text(folder / SEAL, json.dumps({**facts, "sha256": files}, indent=2) + "\n")


def unseal(folder: pathlib.Path) -> dict[str, Any]:
    """Takes a cell's seal off, and the results that it does not vouch for.

    Returns:
      The facts of how the cell came about; none where there was no seal that can be read.
    """
    path = folder / SEAL
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        sealed = dict(facts.pop("sha256"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        facts, sealed = {}, {}
    path.unlink(missing_ok=True)
    for name in (EVALUATION, PROBE):
        if sealed.get(name) != _sha256(folder / name):
            (folder / name).unlink(missing_ok=True)
    return facts


def condition(
    folder: pathlib.Path, *, iw_samples: int, protocol: dict[str, Any] | None
) -> tuple[Condition, str]:
    """What is to be done with a cell's folder, and why.

    Args:
      iw_samples: how many its evaluation must have used.
      protocol: `config.probe` of the probe that it must have had; None: none.
    """
    if not (folder / SEAL).exists():
        return Condition.OPEN, "not finished"
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))["sha256"]
        sealed = {str(name): str(digest) for name, digest in sealed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Condition.DAMAGED, f"{SEAL} cannot be read"
    wrong = [name for name, digest in sealed.items() if _sha256(folder / name) != digest]
    results = {EVALUATION, PROBE}
    for name in wrong:
        if name not in results:
            return Condition.DAMAGED, f"{name} is not what it was when the cell was finished"
    if wrong:
        return Condition.STALE_METRICS, f"{wrong[0]} is not what it was when the cell was finished"
    if EVALUATION not in sealed:
        return Condition.STALE_METRICS, f"there is no {EVALUATION}"
    figures = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
    if figures.get("iw_samples") != iw_samples:
        return Condition.STALE_METRICS, f"judged with {figures.get('iw_samples')} samples"
    if protocol is not None:
        if PROBE not in sealed:
            return Condition.STALE_METRICS, "not probed yet"
        if json.loads((folder / PROBE).read_text(encoding="utf-8"))["protocol"] != protocol:
            return Condition.STALE_METRICS, "probed by another protocol"
    return Condition.FINISHED, "finished"


def set_aside(folder: pathlib.Path) -> pathlib.Path:
    """Renames a damaged cell, so that it can be trained anew and still be looked at."""
    return rename_damaged(folder, f"{folder.name}.damaged")


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    """What a cell's numbers rest on; pictures and events may come and go."""
    single = [folder / name for name in (CONFIG, METRICS, EVALUATION, PROBE)]
    below = [*(folder / TOKENIZER).rglob("*"), *(folder / CHECKPOINTS).rglob("*")]
    return sorted(path for path in [*single, *below] if path.is_file())


def _sha256(path: pathlib.Path) -> str:
    try:
        return sha256_of(path) if path.is_file() else "missing"
    except OSError:
        return "unreadable"
