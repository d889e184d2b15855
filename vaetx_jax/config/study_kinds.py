"""The kinds of studies: the settings of each and their rules.

`study/` has a module of the same name for each that runs such a study.
"""

from collections.abc import Collection
from typing import Any, Protocol

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import PRECISIONS, default_config
from vaetx_jax.config.keys import choices, differences
from vaetx_jax.data.corpora.corpus import CORPORA, UNLABELLED
from vaetx_jax.data.tokenizers.base import KINDS as TOKENIZERS
from vaetx_jax.losses.annealing import ANNEALINGS
from vaetx_jax.models.presets import MODELS, has_latent

SHOWN = ("language", "probe", "curves")
# The keys of a run that a grid's rows, corpora and seeds set; `config.run` may not.
AXES = ("data.corpus", "model.name", "model.latent_dim", "objective.annealing", "seed")


class Kind(Protocol):
    """One kind of study."""

    def defaults(self) -> ConfigDict:
        """`config.study`, and further sections where the kind has some, without rows."""

    def problems(self, config: ConfigDict) -> list[str]:
        """One line for each rule that a config of this kind breaks."""


class Parameters:
    """Counts parameters."""

    def defaults(self) -> ConfigDict:
        """No sizes."""
        config = _empty()
        config.study.sizes = ()  # (model, dimension, vocabulary size), ...
        return config

    def problems(self, config: ConfigDict) -> list[str]:
        """The rules of `sizes`."""
        wanted = f"a triple (model of {', '.join(MODELS)}; dimension; vocabulary size of 5 or more)"
        return [
            f"config.study.sizes: {size!r} is not {wanted}"
            for size in config.study.sizes
            if not _is_sequence(size, 3) or size[0] not in MODELS or size[1] < 1 or size[2] < 5
        ]


class Timing:
    """Times forward passes."""

    def defaults(self) -> ConfigDict:
        """No corpora, models or dimensions; the paper's batch size and tokenizer."""
        config = _empty()
        config.study.corpora = ()
        config.study.models = ()
        config.study.dims = ()
        config.study.batch_size = 32  # sentences per device
        config.study.tokenizer = "wordpiece"  # the paper's 30,522 tokens
        config.study.precision = "float32"
        config.study.repetitions = 3
        config.study.sample = -1  # batches; 0: all; -1: all on an accelerator, a few on a CPU
        config.study.trace = ""  # a folder for a profiler trace
        config.data = ConfigDict()
        config.data.manual_dir = ""  # as in a run's config
        config.data.cache_dir = ""
        return config

    def problems(self, config: ConfigDict) -> list[str]:
        """The rules of the names and numbers."""
        study = config.study
        problems = [
            *_unknown("corpora", study.corpora, [name for name in CORPORA if name != "text"]),
            *_unknown("models", study.models, MODELS),
            *_unknown("tokenizer", [study.tokenizer], TOKENIZERS),
            *_unknown("precision", [study.precision], PRECISIONS),
            *_too_small(study, batch_size=1, repetitions=1, sample=-1),
        ]
        if not all(isinstance(dim, int) and dim >= 1 for dim in study.dims):
            problems.append(f"config.study.dims = {study.dims}: must be whole numbers above 0")
        return problems


class Schedules:
    """Draws the KL weight."""

    def defaults(self) -> ConfigDict:
        """The paper's schedules."""
        config = _empty()
        config.study.cycles = 5
        config.study.ratio = 0.5
        return config

    def problems(self, config: ConfigDict) -> list[str]:
        """The bounds of a run's `objective.cycles` and `objective.ratio`."""
        problems = _too_small(config.study, cycles=1)
        if not 0 < config.study.ratio <= 1:
            problems.append(
                f"config.study.ratio = {config.study.ratio}: the ramp's share of a cycle, "
                "0 < ratio <= 1"
            )
        return problems


class Grid:
    """Trains, evaluates and compares a grid of runs."""

    def defaults(self) -> ConfigDict:
        """No rows or corpora; latent 64 and three seeds."""
        config = _empty()
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
        return config

    def problems(self, config: ConfigDict) -> list[str]:
        """The rules of the rows, the corpora, the seeds and `config.run`."""
        study = config.study
        problems = [
            *_unknown("show", study.show, SHOWN),
            *_unknown("corpora", study.corpora, CORPORA),
            *(problem for row in study.rows for problem in self._row_problems(row)),
            *_too_small(study, latent_dim=1, together=0),
            *_too_small(study.epochs, "epochs.", **dict.fromkeys(study.epochs, 0)),
        ]
        for key in ("rows", "corpora", "seeds"):
            if not study[key]:
                problems.append(f"config.study.{key}: must name at least one")
            if len(set(map(str, study[key]))) < len(study[key]):
                problems.append(f"config.study.{key} = {study[key]}: names one of them twice")
        if "probe" in study.show:
            problems += [
                f"config.study.corpora: {corpus} has no labels for the probe of config.study.show"
                for corpus in study.corpora
                if corpus in UNLABELLED
            ]
        if not all(isinstance(seed, int) and seed >= 0 for seed in study.seeds):
            problems.append(f"config.study.seeds = {study.seeds}: must be whole numbers from 0 on")
        changed = differences(default_config(), config.run)
        problems += [
            f"config.run.{key}: the grid decides it; change config.study instead"
            for key in AXES
            if key in changed
        ]
        return problems

    def _row_problems(self, row: Any) -> list[str]:
        if not _is_sequence(row, 2) or row[0] not in MODELS or row[1] not in ANNEALINGS:
            wanted = f"(model of {', '.join(MODELS)}; annealing of {', '.join(ANNEALINGS)})"
            return [f"config.study.rows: {row!r} is not a pair {wanted}"]
        if not has_latent(row[0]) and row[1] != "none":
            return [f"config.study.rows: {tuple(row)!r}: {row[0]} has no KL to anneal"]
        return []


KINDS: dict[str, Kind] = {
    "parameters": Parameters(),
    "timing": Timing(),
    "schedules": Schedules(),
    "grid": Grid(),
}


def _empty() -> ConfigDict:
    config = ConfigDict()
    config.study = ConfigDict()
    return config


def _is_sequence(value: Any, length: int) -> bool:
    return isinstance(value, tuple | list) and len(value) == length


def _unknown(key: str, values: Collection[str], names: Collection[str]) -> list[str]:
    """A problem for each value that is not among the names."""
    return [
        f"config.study.{key} = {value!r}: {choices(value, tuple(names))}"
        for value in values
        if value not in names
    ]


def _too_small(section: ConfigDict, prefix: str = "", **least: int) -> list[str]:
    """A problem for each key whose value is below its bound."""
    return [
        f"config.study.{prefix}{key} = {section[key]}: must be at least {bound}"
        for key, bound in least.items()
        if section[key] < bound
    ]
