"""The kinds of studies: the settings of each and their rules.

`study/` has a module of the same name for each, which runs such a study.
"""

import dataclasses
from collections.abc import Collection
from typing import Any, Protocol

from ml_collections import ConfigDict, FieldReference

from vaetx_jax.config.defaults import PRECISIONS, default_config
from vaetx_jax.config.keys import differences
from vaetx_jax.config.study_rows import row_problems, rows_of, sweep_problems
from vaetx_jax.data.corpora.corpus import CORPORA, UNLABELLED
from vaetx_jax.data.tokenizers.base import KINDS as TOKENIZERS
from vaetx_jax.models.presets import MODELS
from vaetx_jax.settings import MAX_SEED, broken_rules, choices, setting

SHOWN = ("language", "probe", "curves", "remedies")
# The keys of a run that a grid's rows, corpora and seeds set; `config.run` may not.
AXES = ("data.corpus", "model.name", "model.latent_dim", "objective.annealing", "seed")


@dataclasses.dataclass(frozen=True)
class ParameterSettings:
    """`config.study` of a study that counts parameters."""

    sizes: tuple[Any, ...] = ()  # (model, dimension, vocabulary size), ...


@dataclasses.dataclass(frozen=True)
class TimingSettings:
    """`config.study` of a study that times forward passes."""

    corpora: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    dims: tuple[int, ...] = ()
    batch_size: int = setting(32, least=1)  # sentences per device
    tokenizer: str = setting("wordpiece", choices=TOKENIZERS)  # the paper's 30,522 tokens
    precision: str = setting("float32", choices=PRECISIONS)
    repetitions: int = setting(3, least=1)
    # Batches; 0: all; -1: all on an accelerator, a few on a CPU.
    sample: int = setting(-1, least=-1)
    trace: str = ""  # a folder for a profiler trace


@dataclasses.dataclass(frozen=True)
class ScheduleSettings:
    """`config.study` of a study that draws the KL weight."""

    cycles: int = setting(5, least=1)
    ratio: float = setting(0.5, above=0, most=1)


@dataclasses.dataclass(frozen=True)
class GridSettings:
    """`config.study` of a study that trains, evaluates and compares runs; see `Grid.defaults`."""

    title: str = ""
    show: tuple[str, ...] = ("language",)  # the tables and figures: some of `SHOWN`
    rows: tuple[Any, ...] = ()  # see `study_rows`; a language model's annealing is none
    # Key of a run -> values: each row of a VAE once for each combination.
    sweep: dict[str, Any] = dataclasses.field(default_factory=dict)
    corpora: tuple[str, ...] = ()
    latent_dim: int = setting(64, least=1)
    seeds: tuple[int, ...] = (0, 1, 2)
    # Cells of one program; 0: all that differ in seed or annealing alone where there is an
    # accelerator, one on a CPU.
    together: int = setting(0, least=0)


class Kind(Protocol):
    """One kind of study."""

    def defaults(self) -> ConfigDict:
        """The section `study`, and further ones where the kind has some, without rows."""

    def problems(self, config: ConfigDict) -> list[str]:
        """One line for each rule that a config of this kind breaks."""


class Parameters:
    """Counts parameters."""

    def defaults(self) -> ConfigDict:
        """No sizes."""
        return _defaults(ParameterSettings)

    def problems(self, config: ConfigDict) -> list[str]:
        """The rules of `sizes`."""
        wanted = f"(model of {', '.join(MODELS)}; dimension; vocabulary size of 5 or more)"
        return [
            f"config.study.sizes: {size!r} is not a triple {wanted}"
            for size in config.study.sizes
            if not _is_sequence(size, 3) or size[0] not in MODELS or size[1] < 1 or size[2] < 5
        ]


class Timing:
    """Times forward passes."""

    def defaults(self) -> ConfigDict:
        """No corpora, models or dimensions; the paper's batch size and tokenizer."""
        config = _defaults(TimingSettings)
        config.data = ConfigDict()
        config.data.manual_dir = ""  # as in a run's config
        config.data.cache_dir = ""
        return config

    def problems(self, config: ConfigDict) -> list[str]:
        """The rules of the names and numbers."""
        study = config.study
        problems = [
            *_out_of_bounds(TimingSettings, study),
            *_unknown("corpora", study.corpora, [name for name in CORPORA if name != "text"]),
            *_unknown("models", study.models, MODELS),
        ]
        if not all(isinstance(dim, int) and dim >= 1 for dim in study.dims):
            problems.append(f"config.study.dims = {study.dims}: must be whole numbers above 0")
        return problems


class Schedules:
    """Draws the KL weight."""

    def defaults(self) -> ConfigDict:
        """The paper's schedules."""
        return _defaults(ScheduleSettings)

    def problems(self, config: ConfigDict) -> list[str]:
        """The bounds of the numbers."""
        return _out_of_bounds(ScheduleSettings, config.study)


class Grid:
    """Trains, evaluates and compares a grid of runs."""

    def defaults(self) -> ConfigDict:
        """No rows or corpora; latent 64 and three seeds."""
        config = _defaults(GridSettings)
        # Of each corpus; 0: config.run.train's.
        config.study.epochs = ConfigDict(dict.fromkeys(CORPORA, 0))
        # What differs here from the defaults of a run holds for every cell.
        config.run = default_config()
        return config

    def problems(self, config: ConfigDict) -> list[str]:
        """The rules of the rows, the corpora, the seeds and `config.run`."""
        study = config.study
        problems = [
            *_out_of_bounds(GridSettings, study),
            *_unknown("show", study.show, SHOWN),
            *_unknown("corpora", study.corpora, CORPORA),
            *(problem for row in study.rows for problem in row_problems(row)),
            *sweep_problems(study.sweep),
        ]
        for key in ("rows", "corpora", "seeds"):
            if not study[key]:
                problems.append(f"config.study.{key}: must name at least one")
            if len(set(map(str, study[key]))) < len(study[key]):
                problems.append(f"config.study.{key} = {study[key]}: names one of them twice")
        if not problems:
            titles = [row.title for row in rows_of(study)]
            problems += [
                f"config.study.rows: two rows are called {title}"
                for title in dict.fromkeys(titles)
                if titles.count(title) > 1
            ]
        if "probe" in study.show:
            problems += [
                f"config.study.corpora: {corpus} has no labels for the probe of config.study.show"
                for corpus in study.corpora
                if corpus in UNLABELLED
            ]
        if not all(isinstance(seed, int) and 0 <= seed <= MAX_SEED for seed in study.seeds):
            must = f"must be whole numbers from 0 to {MAX_SEED}"
            problems.append(f"config.study.seeds = {study.seeds}: {must}")
        problems += [
            f"config.study.epochs.{corpus} = {epochs}: must be at least 0"
            for corpus, epochs in study.epochs.items()
            if epochs < 0
        ]
        changed = differences(default_config(), config.run)
        problems += [
            f"config.run.{key}: it is set by the grid; change config.study instead"
            for key in AXES
            if key in changed
        ]
        return problems


KINDS: dict[str, Kind] = {
    "parameters": Parameters(),
    "timing": Timing(),
    "schedules": Schedules(),
    "grid": Grid(),
}


def _defaults(declared: type) -> ConfigDict:
    """A config whose section `study` has the fields of a dataclass."""
    config = ConfigDict()
    values = {field.name: _value(field) for field in dataclasses.fields(declared)}
    # A dict stays one: its keys may have dots.
    config.study = ConfigDict(values, convert_dict=False)
    return config


def _out_of_bounds(declared: type, study: ConfigDict) -> list[str]:
    return [
        f"config.study.{key} = {study[key]!r}: {rule}"
        for key, rule in broken_rules(declared, study)
    ]


def _unknown(key: str, values: Collection[str], names: Collection[str]) -> list[str]:
    """A problem for each value that is not among the names."""
    return [
        f"config.study.{key} = {value!r}: {choices(value, names)}"
        for value in values
        if value not in names
    ]


def _is_sequence(value: Any, length: int) -> bool:
    return isinstance(value, tuple | list) and len(value) == length


def _value(field: dataclasses.Field[Any]) -> Any:
    """A field's default; a dict as an object, which a flag can set, as it cannot a dict."""
    if field.default is not dataclasses.MISSING:
        return field.default
    return FieldReference({}, field_type=object)
