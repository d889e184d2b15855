"""Runs that differ in seed or annealing alone, trained together in one compiled program.

They share their batches (`data.seed`), so that one program steps them all and an accelerator that a
small model leaves idle is filled. Each keeps a folder of its own with the metrics and checkpoints
that it has alone; it can go on alone from there, and together again.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from vaetx_jax.data.batches import read_ahead
from vaetx_jax.data.bucketing import Batch
from vaetx_jax.errors import UserError
from vaetx_jax.run.run import Run
from vaetx_jax.runtime.mesh import data_mesh, put_replicated
from vaetx_jax.runtime.signals import StopSignals
from vaetx_jax.training.phases import trains_language_model
from vaetx_jax.training.step import StepMetrics, init_replicas, make_replica_step
from vaetx_jax.training.trainer import StoppedError, Trainer


class Replicas:
    """R runs of one program. All have the same model, corpus and numbers of steps."""

    def __init__(self, runs: Sequence[Run]):
        self._runs = runs
        self._trainers = [Trainer(one, one.folder.name, len(runs)) for one in runs]
        self._broken: dict[int, UserError] = {}
        first = self._trainers[0]
        self._batches, self._total = first.batches, first.settings.total_steps
        self._mesh = _mesh_for(len(runs))
        settings = [trainer.settings for trainer in self._trainers]
        self._step, self._language_model_step = (
            make_replica_step(runs[0].training_model(), settings, self._mesh, latent=latent)
            for latent in (True, False)
        )

    def common_step(self) -> int | None:
        """The latest step that all runs can go on from; 0: all from the beginning.

        None where one of them would lose more than its last checkpoint by it.
        """
        steps = [{0, *trainer.checkpoints.steps()} for trainer in self._trainers]
        common = max(set.intersection(*steps))
        lost = max(sum(step > common for step in own) for own in steps)
        return common if lost <= 1 else None

    def run(self) -> dict[int, UserError]:
        """Trains all to their last step; gives the error of each run that was not finite.

        Raises:
          StoppedError: a signal asked to stop; all states are saved.
          ValueError: the runs have no common step to go on from (`common_step`).
        """
        first = self.common_step()
        if first is None:
            raise ValueError("the runs have no common step; let each go on alone")
        if first == self._total:
            return {}
        states = self._start(first)
        for trainer in self._trainers:
            trainer.open(first)
        try:
            with StopSignals() as stop:
                self._steps(states, first, stop)
        finally:
            for trainer in self._trainers:
                trainer.close()
        return self._broken

    def _start(self, first: int) -> Any:
        keys_R = jnp.stack([trainer.init_key for trainer in self._trainers])
        optimizer = self._trainers[0].settings.optimizer
        states = init_replicas(self._runs[0].model, optimizer, keys_R, self._mesh)
        plain = [self._one(states, number) for number in range(len(self._trainers))]
        own = []
        for trainer, like in zip(self._trainers, plain, strict=True):
            trainer.checkpoints.forget_after(first)
            if first:
                own.append(jax.device_get(trainer.checkpoints.restore(first, like)))
            else:
                own.append(trainer.first_state(trainer.with_starts(like))[0])
        if all(mine is like for mine, like in zip(own, plain, strict=True)):
            return states
        return _stacked(own, states)

    def _apply_updates(self, done: int, states: Any) -> Any:
        """The states with what the host changes in each after `done` updates."""
        if not any(trainer.updates.due(done) for trainer in self._trainers):
            return states
        own = []
        for number, trainer in enumerate(self._trainers):
            state = self._one(states, number)
            going = number not in self._broken and trainer.updates.due(done)
            own.append(trainer.updates.apply(done, state) if going else state)
        return _stacked(own, states)

    def _steps(self, states: Any, first: int, stop: StopSignals) -> None:
        keys_R = jnp.stack([trainer.key for trainer in self._trainers])
        late: tuple[int, StepMetrics, Batch] | None = None
        for index, batch in read_ahead(self._batches, first, self._total):
            done = index + 1
            whole = {"ids": batch["ids"], "weight": batch["weight"]}
            step = self._step
            if trains_language_model(self._trainers[0].settings.warm_up, index):
                step = self._language_model_step
            states, metrics = step(states, put_replicated(whole, self._mesh), keys_R)
            states = self._apply_updates(done, states)
            if late:
                self._read(*late)
            late = (done, metrics, batch)
            if not self._going():
                return
            if stop.asked or any(trainer.saves_at(done) for trainer in self._trainers):
                self._read(*late)
                late = None
                self._save(done, states, stopping=stop.asked)
            if stop.asked and done < self._total:
                raise StoppedError(f"stopped after step {done:,} of {self._total:,}; saved")
        if late:
            self._read(*late)

    def _read(self, done: int, metrics: StepMetrics, batch: Batch) -> None:
        metrics = jax.device_get(metrics)
        for number, trainer in self._going():
            try:
                mine = jax.tree.map(lambda leaf: leaf[number], metrics)  # noqa: B023
                trainer.read(done, mine, batch)
            except UserError as error:
                self._broken[number] = error

    def _save(self, done: int, states: Any, *, stopping: bool) -> None:
        for number, trainer in self._going():
            if stopping or trainer.saves_at(done):
                trainer.save(done, self._one(states, number), stopping=stopping)

    def _going(self) -> list[tuple[int, Trainer]]:
        return [(i, t) for i, t in enumerate(self._trainers) if i not in self._broken]

    def _one(self, states: Any, number: int) -> Any:
        """The state of one run as it is alone, on the devices where it is validated."""
        alone = jax.device_get(jax.tree.map(lambda leaf: leaf[number], states))
        return put_replicated(alone, self._runs[number].mesh)


def _stacked(own: Sequence[Any], like: Any) -> Any:
    """The states of several runs as one, placed as `like`."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(jax.device_get, own))
    return jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), stacked, like)


def _mesh_for(replicas: int) -> Any:
    """As many devices as the replicas divide among evenly."""
    devices = jax.devices()
    count = max(n for n in range(1, len(devices) + 1) if replicas % n == 0)
    return data_mesh(devices[:count])
