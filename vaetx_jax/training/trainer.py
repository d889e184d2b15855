"""The training loop of one run: step, stop, resume."""

import contextlib
import dataclasses
import functools
import time

import jax
from ml_collections import ConfigDict

from vaetx_jax.config import validation
from vaetx_jax.data.batches import read_ahead
from vaetx_jax.data.bucketing import device_arrays
from vaetx_jax.errors import ConfigError
from vaetx_jax.models.language_model import Variables
from vaetx_jax.run.run import Run
from vaetx_jax.run.workdir import CHECKPOINTS
from vaetx_jax.runtime import freed_memory, processes
from vaetx_jax.runtime.mesh import put_batch
from vaetx_jax.runtime.signals import StopSignals
from vaetx_jax.training.checkpoint import Checkpoints
from vaetx_jax.training.host_updates import HostUpdates
from vaetx_jax.training.patience import Patience
from vaetx_jax.training.phases import check_phase, trains_language_model, warm_up_of
from vaetx_jax.training.recorder import Pending, Recorder
from vaetx_jax.training.schedule import Schedule
from vaetx_jax.training.state import TrainState, init_state
from vaetx_jax.training.step import StepSettings, make_train_step
from vaetx_jax.training.warm_start import initialise

AGREE_EVERY = 8  # steps between two times that several processes ask each other whether to stop


class StoppedError(Exception):
    """The run was asked to stop; it has saved its state and goes on when started again."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a training: the variables after the last step, and the time it took."""

    variables: Variables
    steps: int
    seconds: float


def step_settings(config: ConfigDict, steps_per_epoch: int) -> StepSettings:
    """The settings of a run's steps.

    Raises:
      ConfigError: there are more cycles than steps, or a phase has too few.
    """
    total = config.train.steps or config.train.epochs * steps_per_epoch
    if config.train.max_steps and not config.train.steps:
        total = min(total, config.train.max_steps)
    if config.objective.cycles > total:
        raise ConfigError(
            f"config.objective.cycles = {config.objective.cycles}: more cycles than the {total} "
            "steps"
        )
    return StepSettings(
        objective=validation.objective(config),
        optimizer=validation.optimizer_settings(config),
        total_steps=total,
        window=config.train.log_every,
        skip_nonfinite=config.train.nonfinite == "skip",
        warm_up=warm_up_of(config.train, total, cycles=config.objective.cycles),
    )


def root_keys(config: ConfigDict) -> tuple[jax.Array, jax.Array]:
    """(the key of the initialisation, the key of the steps) of a run."""
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    return init_key, step_key


class Trainer:
    """One training run in its folder.

    Args:
      run: the run to train.
    """

    def __init__(self, run: Run):
        freed_memory.return_after_compiling()
        self._run = run
        self.batches = run.train_batches
        self.settings = step_settings(run.config, self.batches.steps_per_epoch)
        self._init_key, self.key = root_keys(run.config)
        self._shard_state = bool(run.config.mesh.shard_state)
        make_step = functools.partial(
            make_train_step,
            run.training_model(),
            self.settings,
            run.mesh,
            shard_state=self._shard_state,
        )
        self.train_step, self._language_model_step = make_step(), make_step(latent=False)
        self._updates = HostUpdates(
            run, self.settings, self._init_key, shard_state=self._shard_state
        )
        self._checkpoints = Checkpoints(
            run.folder / CHECKPOINTS, writable=True, freeze=run.model.freeze
        )

    def start_state(self) -> tuple[TrainState, str]:
        """The state to go on from, and a phrase that says where it comes from.

        Raises:
          ConfigError: changed settings would put the state into another phase of the run.
        """
        run, optimizer = self._run, self.settings.optimizer
        state = init_state(
            run.model,
            optimizer,
            self._init_key,
            run.mesh,
            shard_state=self._shard_state,
            objective=self.settings.objective,
        )
        latest = self._checkpoints.latest()
        if latest is not None:
            state = self._checkpoints.restore(latest, state)
            check_phase(state, self.settings.warm_up, skips=self.settings.skip_nonfinite)
            return state, f"resumes after step {latest:,}"
        return initialise(run, state)

    def ended(self, done: int) -> str:
        """Why nothing is left to train after `done` updates, in words; empty: something is."""
        if done >= self.settings.total_steps:
            return "all steps are done already"
        patience = self._patience(done)
        return f"has stopped already: {patience.reason}" if patience.exhausted else ""

    def _patience(self, done: int) -> Patience:
        schedule = Schedule(self._run, self.settings)
        most, best = self._run.config.train.patience, self._checkpoints.best_score()
        return Patience(most, schedule, best=best, done=done)

    def run(self, state: TrainState) -> Outcome:
        """Trains to the last step, or until `train.patience` is exhausted.

        Raises:
          StoppedError: a signal asked to stop; the state is saved.
          UserError: a step was not finite, or the last state cannot be saved.
        """
        first, began = int(state.step), time.monotonic()
        patience = self._patience(first)
        recorder = Recorder(
            self._run, self.settings, self._checkpoints, first=first, patience=patience
        )
        with contextlib.closing(recorder), StopSignals() as stop:
            if not patience.exhausted:
                state = self._steps(state, first, recorder, stop, patience)
        return Outcome(state.variables, int(state.step), time.monotonic() - began)

    def _steps(
        self,
        state: TrainState,
        first: int,
        recorder: Recorder,
        stop: StopSignals,
        patience: Patience,
    ) -> TrainState:
        total, pending = self.settings.total_steps, Pending(recorder.read)
        for index, batch in read_ahead(self.batches, first, total):
            done = index + 1
            arrays = put_batch(device_arrays(batch, "weight"), self._run.mesh)
            of_lm = trains_language_model(self.settings.warm_up, index)
            step = self._language_model_step if of_lm else self.train_step
            state, metrics = step(state, arrays, self.key)
            if self._updates.due(done):
                state = self._updates.apply(done, state)
            pending.push(done, metrics, batch)
            stops = _must_stop(done, stop)
            if recorder.is_due(done) or stops:
                pending.flush()  # nothing is saved before it is known to be finite
                recorder.save(done, state, stopping=stops)
                if patience.exhausted:
                    recorder.clear_progress()
                    print(f"training   stops after step {done:,}: {patience.reason}", flush=True)
                    break
            if stops and done < total:
                recorder.clear_progress()
                raise StoppedError(f"stopped after step {done:,} of {total:,}; its state is saved")
        pending.flush()
        return state


def _must_stop(done: int, stop: StopSignals) -> bool:
    """Whether to stop after this step; several processes agree on it every few steps."""
    if jax.process_count() == 1:
        return stop.asked
    return done % AGREE_EVERY == 0 and processes.any_of(stop.asked)
