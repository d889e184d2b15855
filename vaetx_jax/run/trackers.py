"""Metrics to experiment trackers: Weights & Biases and MLflow, where they are asked for.

`--trackers=wandb,mlflow`, or the environment variable VAETX_TRACKERS, names them; each is an extra
of its name. Where they write to is their own affair (`WANDB_MODE`, `MLFLOW_TRACKING_URI`).
None can stop a run: one that fails is named once and gets no more rows.
"""

import importlib.util
import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from absl import flags

from vaetx_jax.config.keys import flatten
from vaetx_jax.errors import ConfigError
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.console import notify
from vaetx_jax.settings import choices

VARIABLE = "VAETX_TRACKERS"  # a study's processes inherit it
PROJECT = "vaetx_jax"  # of W&B; MLflow's experiment
FILE = "trackers.json"  # in a run's folder: tracker -> its id of the run, so that it is resumed
_PARAMS = 100  # that MLflow takes at a time


class Tracker(Protocol):
    """A writer of metric rows."""

    def write(self, step: int, row: dict[str, Any]) -> None:
        """Writes the numbers of a step."""

    def close(self) -> None:
        """Ends the run there."""


def define_flags() -> None:
    """The flag that names experiment trackers."""
    flags.DEFINE_list(
        "trackers", None, "Also log the metrics to wandb, mlflow or both (or set VAETX_TRACKERS)."
    )


def use_given() -> None:
    """Chooses the trackers that --trackers names, or else the environment.

    Raises:
      ConfigError: there is no such tracker.
    """
    given = flags.FLAGS.trackers
    use(chosen() if given is None else given)


def use(names: Sequence[str]) -> None:
    """Chooses the trackers of all runs of this process and of those that it starts.

    One that is not installed is left out, and a line says so.

    Raises:
      ConfigError: there is no such tracker.
    """
    for name in names:
        if name not in _OPENERS:
            raise ConfigError(f"--trackers={name}: {choices(name, tuple(_OPENERS))}")
    found = [name for name in dict.fromkeys(names) if _is_installed(name)]
    for name in [name for name in names if name not in found]:
        install = f"pip install 'vaetx-jax[{name}]'"
        notify(f"warning: --trackers={name}: not installed ({install}); it is left out")
    os.environ[VARIABLE] = ",".join(found)


def chosen() -> list[str]:
    """The trackers of the environment."""
    return [name for name in os.environ.get(VARIABLE, "").split(",") if name]


class Trackers:
    """The chosen trackers of one run, none of which can stop it.

    Args:
      folder: the run's folder; its name is the run's.
      config: the run's settings, as plain values.
    """

    def __init__(self, folder: pathlib.Path, config: dict[str, Any]):
        self._open: dict[str, Tracker] = {}
        for name in chosen():
            self._attempt(name, lambda name=name: self._start(name, folder, config))  # type: ignore[misc]

    def _start(self, name: str, folder: pathlib.Path, config: dict[str, Any]) -> None:
        self._open[name] = _OPENERS[name](folder, flatten(config))

    def write(self, step: int, row: dict[str, Any]) -> None:
        """Writes the finite numbers of a row to each."""
        numbers = {k: float(v) for k, v in row.items() if isinstance(v, int | float)}
        for name in list(self._open):
            self._attempt(name, lambda name=name: self._open[name].write(step, numbers))  # type: ignore[misc]

    def close(self) -> None:
        """Ends the run at each."""
        for name in list(self._open):
            self._attempt(name, self._open[name].close)

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever a tracker raises, the training goes on
            self._open.pop(name, None)
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            notify(f"warning: the tracker {name} gets no more metrics ({why})")


class _Wandb:
    """A run of Weights & Biases."""

    def __init__(self, folder: pathlib.Path, config: dict[str, Any]):
        import wandb

        known = _known_id(folder, "wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            dir=str(folder),
            config=config,
            id=known,
            resume="allow",
        )
        _keep_id(folder, "wandb", self._run.id)

    def write(self, step: int, row: dict[str, float]) -> None:
        self._run.log(row, step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    """A run of MLflow, by its client: nothing of the process's own active run is touched."""

    def __init__(self, folder: pathlib.Path, config: dict[str, Any]):
        import mlflow

        self._client, self._entities = mlflow.MlflowClient(), mlflow.entities
        known = _known_id(folder, "mlflow")
        if known:
            self._id = known
            self._client.update_run(known, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._id = self._client.create_run(number, run_name=folder.name).info.run_id
        params = [self._entities.Param(key, str(value)) for key, value in config.items()]
        for first in range(0, len(params), _PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _PARAMS])
        _keep_id(folder, "mlflow", self._id)

    def write(self, step: int, row: dict[str, float]) -> None:
        now = int(1_000 * time.time())
        metrics = [self._entities.Metric(key, value, now, step) for key, value in row.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self._id)


_OPENERS: dict[str, Callable[[pathlib.Path, dict[str, Any]], Tracker]] = {
    "wandb": _Wandb,
    "mlflow": _Mlflow,
}


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module without a specification, as a test's is
        return True


def _read_ids(folder: pathlib.Path) -> dict[str, str]:
    try:
        ids = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return ids if isinstance(ids, dict) else {}


def _known_id(folder: pathlib.Path, name: str) -> str | None:
    return _read_ids(folder).get(name)


def _keep_id(folder: pathlib.Path, name: str, number: str) -> None:
    write_text(folder / FILE, json.dumps(_read_ids(folder) | {name: number}) + "\n")
