"""Runs that differ in seed or annealing alone, trained together in one compiled program.

They share their batches (`data.seed`), so that one program steps them all and an accelerator that a
small model leaves idle is filled. Each keeps a folder of its own with the metrics and checkpoints
that it has alone; it can go on alone from there, and together again.
"""

import contextlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vaetx_jax.data.batches import read_ahead
from vaetx_jax.data.bucketing import Batch, device_arrays
from vaetx_jax.errors import UserError
from vaetx_jax.run.run import Run
from vaetx_jax.run.workdir import CHECKPOINTS
from vaetx_jax.runtime.mesh import data_mesh, put_replicated
from vaetx_jax.runtime.signals import StopSignals
from vaetx_jax.training.checkpoint import Checkpoints
from vaetx_jax.training.host_updates import HostUpdates
from vaetx_jax.training.phases import check_phase, trains_language_model
from vaetx_jax.training.recorder import Pending, Recorder
from vaetx_jax.training.state import TrainState
from vaetx_jax.training.step import StepMetrics, init_replicas, make_replica_step
from vaetx_jax.training.trainer import StoppedError, root_keys, step_settings
from vaetx_jax.training.warm_start import initialise


class Replicas:
    """R runs of one program. All have the same model, corpus and numbers of steps."""

    def __init__(self, runs: Sequence[Run]):
        self._runs = runs
        self._batches = runs[0].train_batches
        self._settings = [step_settings(run.config, self._batches.steps_per_epoch) for run in runs]
        self._total = self._settings[0].total_steps
        keys = [root_keys(run.config) for run in runs]
        self._init_keys_R, self._keys_R = (jnp.stack(stream) for stream in zip(*keys, strict=True))
        self._checkpoints = [
            Checkpoints(run.folder / CHECKPOINTS, writable=True, freeze=run.model.freeze)
            for run in runs
        ]
        self._broken: dict[int, UserError] = {}
        self._mesh = _mesh_for(len(runs))
        model = runs[0].training_model()
        self._step = make_replica_step(model, self._settings, self._mesh)
        self._language_model_step = make_replica_step(
            model, self._settings, self._mesh, latent=False
        )
        self._updates = [
            HostUpdates(run, settings, init_key)
            for run, settings, (init_key, _) in zip(runs, self._settings, keys, strict=True)
        ]

    def common_step(self) -> int | None:
        """The latest step that all runs can go on from; 0: all from the beginning.

        None where one of them would lose more than its last checkpoint by it.
        """
        steps = [{0, *checkpoints.steps()} for checkpoints in self._checkpoints]
        common = max(set.intersection(*steps))
        lost = max(sum(step > common for step in own) for own in steps)
        return common if lost <= 1 else None

    def run(self) -> dict[int, UserError]:
        """Trains all to their last step; returns the error of each run that was not finite.

        Raises:
          StoppedError: a signal asked to stop; all states are saved.
          ValueError: the runs have no common step to go on from (`common_step`).
        """
        first = self.common_step()
        if first is None:
            raise ValueError("the runs have no common step; resume each alone")
        if first == self._total:
            return {}
        states = self._start(first)
        with contextlib.ExitStack() as stack:
            recorders = [
                stack.enter_context(contextlib.closing(self._recorder(number, first)))
                for number in range(len(self._runs))
            ]
            self._steps(states, first, recorders, stack.enter_context(StopSignals()))
        return self._broken

    def _recorder(self, number: int, first: int) -> Recorder:
        run, together = self._runs[number], len(self._runs)
        return Recorder(
            run,
            self._settings[number],
            self._checkpoints[number],
            first=first,
            label=run.folder.name,
            together=together,
        )

    def _start(self, first: int) -> TrainState:
        """The stacked states of all runs after `first` updates."""
        model, optimizer = self._runs[0].model, self._settings[0].optimizer
        states = init_replicas(
            model,
            optimizer,
            self._init_keys_R,
            self._mesh,
            objective=self._settings[0].objective,
        )
        fresh = [self._select(states, number) for number in range(len(self._runs))]
        own = []
        for run, checkpoints, like in zip(self._runs, self._checkpoints, fresh, strict=True):
            checkpoints.forget_after(first)
            if first:
                saved = checkpoints.restore(first, like)
                settings = self._settings[0]
                check_phase(saved, settings.warm_up, skips=settings.skip_nonfinite)
                own.append(jax.device_get(saved))
            else:
                own.append(initialise(run, like)[0])
        if all(mine is like for mine, like in zip(own, fresh, strict=True)):
            return states
        return _stack(own, states)

    def _apply_updates(self, done: int, states: TrainState) -> TrainState:
        """The states with what the host changes in each after `done` updates."""
        if not any(updates.due(done) for updates in self._updates):
            return states
        own = []
        for number, updates in enumerate(self._updates):
            state = self._select(states, number)
            goes_on = number not in self._broken
            own.append(updates.apply(done, state) if goes_on else state)
        return _stack(own, states)

    def _steps(
        self, states: TrainState, first: int, recorders: Sequence[Recorder], stop: StopSignals
    ) -> None:
        def read(done: int, metrics: StepMetrics, batch: Batch) -> None:
            self._read(recorders, done, jax.device_get(metrics), batch)

        pending = Pending(read)
        for index, batch in read_ahead(self._batches, first, self._total):
            done = index + 1
            arrays = put_replicated(device_arrays(batch, "weight"), self._mesh)
            of_lm = trains_language_model(self._settings[0].warm_up, index)
            step = self._language_model_step if of_lm else self._step
            states, metrics = step(states, arrays, self._keys_R)
            states = self._apply_updates(done, states)
            pending.push(done, metrics, batch)
            if not self._finite(recorders):
                return
            stops = stop.asked
            if stops or any(recorder.is_due(done) for recorder in recorders):
                pending.flush()  # nothing is saved before it is known to be finite
                for number, recorder in self._finite(recorders):
                    if stops or recorder.is_due(done):
                        recorder.save(done, self._select(states, number), stopping=stops)
            if stops and done < self._total:
                raise StoppedError(f"stopped after step {done:,} of {self._total:,}; saved")
        pending.flush()

    def _read(
        self, recorders: Sequence[Recorder], done: int, metrics: StepMetrics, batch: Batch
    ) -> None:
        for number, recorder in self._finite(recorders):
            own = jax.tree.map(lambda leaf: leaf[number], metrics)  # noqa: B023
            try:
                recorder.read(done, own, batch)
            except UserError as error:
                self._broken[number] = error

    def _finite(self, recorders: Sequence[Recorder]) -> list[tuple[int, Recorder]]:
        """The runs that go on, with their numbers."""
        return [(i, one) for i, one in enumerate(recorders) if i not in self._broken]

    def _select(self, states: TrainState, number: int) -> TrainState:
        """The state of one run as it is alone, on the devices where it is validated."""
        alone = jax.device_get(jax.tree.map(lambda leaf: leaf[number], states))
        placed: TrainState = put_replicated(alone, self._runs[number].mesh)
        return placed


def _stack(own: Sequence[TrainState], like: TrainState) -> TrainState:
    """The states of several runs as one, placed as `like`."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(jax.device_get, own))
    placed: TrainState = jax.tree.map(
        lambda new, old: jax.device_put(new, old.sharding), stacked, like
    )
    return placed


def _mesh_for(replicas: int) -> Mesh:
    """As many devices as the replicas divide among evenly."""
    devices = jax.devices()
    count = max(n for n in range(1, len(devices) + 1) if replicas % n == 0)
    return data_mesh(devices[:count])
