"""The rows of a grid: a model, an annealing, and what else a row sets.

A row of `config.study.rows` is (model, annealing), or (model, annealing, name, {key: value}): the
keys are those of a run's config, and the name stands in tables and figures. `config.study.sweep`
({key: values}) makes a row of each VAE's row and each combination of values.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.keys import flatten, set_value
from vaetx_jax.errors import ConfigError
from vaetx_jax.losses.annealing import ANNEALINGS
from vaetx_jax.models.presets import MODELS, has_latent
from vaetx_jax.settings import closest

# The keys of a run that only `study.rows`, `study.corpora` and `study.seeds` set.
FIXED = ("data.corpus", "model.name", "seed")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a grid.

    Attributes:
      model, annealing: of its runs.
      name: how it is called where model and annealing do not say it; empty: they do.
      settings: keys of a run's config with the values that the row sets.
    """

    model: str
    annealing: str
    name: str = ""
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def title(self) -> str:
        """Its name in tables and figures."""
        if self.name:
            return self.name
        return f"{self.model}, {self.annealing}" if has_latent(self.model) else self.model

    @property
    def slug(self) -> str:
        """Its name as a part of a label: letters, digits, `_`, `-` and `.` alone.

        A label says model and annealing already.
        """
        return re.sub(r"[^\w.-]+", "_", self.name.removeprefix(f"{self.model}, {self.annealing}, "))


def rows_of(study: ConfigDict) -> list[Row]:
    """The rows of a grid, each VAE's once for each combination of the sweep's values.

    Args:
      study: `config.study`, whose rows keep the rules (`row_problems`).
    """
    rows = []
    for model, annealing, *rest in study.rows:
        name, settings = rest or ("", {})
        row = _set(Row(model, annealing, name), settings)
        points = _points(study.sweep) if has_latent(model) else [{}]
        rows += [_at(row, point) for point in points]
    return rows


def _points(sweep: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each combination of one value per key; {} where there is no key."""
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def _at(row: Row, point: dict[str, Any]) -> Row:
    """The row with the settings of a point of the sweep, and a name that says them."""
    if not point:
        return row
    words = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in point.items())
    return _set(dataclasses.replace(row, name=f"{row.title}, {words}"), point)


def _set(row: Row, settings: dict[str, Any]) -> Row:
    """The row with further settings."""
    annealing = settings.get("objective.annealing", row.annealing)
    pairs = tuple((dict(row.settings) | settings).items())
    return dataclasses.replace(row, annealing=annealing, settings=pairs)


def row_problems(row: Any) -> list[str]:
    """One line for each rule that an entry of `config.study.rows` breaks."""
    shaped = isinstance(row, tuple | list) and len(row) in (2, 4)
    if not shaped or row[0] not in MODELS or row[1] not in ANNEALINGS:
        wanted = (
            f"(model of {', '.join(MODELS)}; annealing of {', '.join(ANNEALINGS)}), or with two "
            "further entries: a name; {key: value}"
        )
        return [f"config.study.rows: {row!r} is not a pair {wanted}"]
    problems = []
    if not has_latent(row[0]) and row[1] != "none":
        problems.append(f"config.study.rows: {tuple(row)!r}: {row[0]} has no KL to anneal")
    if len(row) == 4:
        name, settings = row[2:]
        if not isinstance(name, str) or not name or not isinstance(settings, dict):
            problems.append(
                f"config.study.rows: {tuple(row)!r}: the third entry is a name, the fourth "
                "{key: value}"
            )
        else:
            problems += [f"config.study.rows, {name}: {why}" for why in key_problems(settings)]
    return problems


def sweep_problems(sweep: Any) -> list[str]:
    """One line for each rule that `config.study.sweep` breaks."""
    if not isinstance(sweep, dict):
        return [f"config.study.sweep = {sweep!r}: must be {{key: (value, value, ..)}}"]
    problems = [f"config.study.sweep: {why}" for why in key_problems(sweep)]
    for key, values in sweep.items():
        if not isinstance(values, tuple | list) or not values:
            problems.append(f"config.study.sweep: {key} = {values!r}: must be values in brackets")
        elif len(set(map(repr, values))) < len(values):
            problems.append(f"config.study.sweep: {key} = {values!r} has one of them twice")
    return problems


def key_problems(settings: dict[str, Any]) -> list[str]:
    """One line for each key that is none of a run's config, or that a row may not set."""
    known = flatten(default_config().to_dict())
    problems = []
    for key in settings:
        if key in FIXED:
            problems.append(f"{key}: it is set by the grid; change config.study instead")
        elif key not in known:
            problems.append(f"{key}: a run has no such key{closest(key, known)}")
    return problems


def set_keys(run: ConfigDict, settings: Any, where: str) -> None:
    """Sets keys of a run's config.

    Args:
      settings: (key, value) pairs.
      where: starts the message of an error.

    Raises:
      ConfigError: a value is of another type than the key's.
    """
    for key, value in settings:
        try:
            set_value(run, key, value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}: {key} = {value!r}: {error}") from error
