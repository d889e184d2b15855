"""What the host changes in a state between two steps: the phase of the run, and its statistics.

All of it depends on the step and the state alone, so that a resumed run is the uninterrupted one,
bit for bit. A checkpoint of a step holds the state after these changes.
"""

import jax

from vaetx_jax.run.run import Run
from vaetx_jax.training import language_model, phases, starts
from vaetx_jax.training.phases import WarmUp
from vaetx_jax.training.schedule import Schedule
from vaetx_jax.training.state import TrainState, init_state
from vaetx_jax.training.statistics import SplitStatistics, update_every, updates_between
from vaetx_jax.training.step import StepSettings
from vaetx_jax.training.warm_start import load_named


class HostUpdates:
    """The changes of one run.

    The statistics are exact in every state that is saved or validated as scheduled. A state that is
    saved elsewhere, because a signal stops the run, has those of the last update of them.

    Args:
      run: the run.
      settings: of its steps.
      init_key: the key of its initialisation.
      shard_state: see `init_state`.
    """

    def __init__(
        self, run: Run, settings: StepSettings, init_key: jax.Array, *, shard_state: bool = False
    ):
        self._run, self._settings = run, settings
        self._init_key, self._shard_state = init_key, shard_state
        self._statistics = SplitStatistics.of(run)
        self._every = update_every(run) if self._statistics else 0
        self._warm_up_steps = settings.warm_up.steps if settings.warm_up else 0
        self._schedule = Schedule(run, settings)

    def due(self, done: int) -> bool:
        """Whether the state after `done` updates is changed."""
        return self._ends_warm_up(done) or self._updates_statistics(done)

    def apply(self, done: int, state: TrainState) -> TrainState:
        """The state after `done` updates with the changes that are due."""
        if self._settings.warm_up and self._ends_warm_up(done):
            if self._settings.warm_up.kind == "language_model":
                language_model.keep_nll(self._run, state.variables)
            fresh = self._fresh(self._settings.warm_up)
            state = phases.second_phase(state, fresh, self._settings.warm_up)
            variables = starts.with_latent_output(self._run, state.variables)
            state = state._replace(variables=variables)
        if self._statistics and self._updates_statistics(done):
            state = state._replace(variables=self._statistics.updated(state.variables))
        return state

    def _ends_warm_up(self, done: int) -> bool:
        warm_up = self._settings.warm_up
        return warm_up is not None and done == warm_up.steps

    def _updates_statistics(self, done: int) -> bool:
        if self._statistics is None or self._trains_no_encoder(done):
            return False
        before = self._warm_up_steps if done > self._warm_up_steps else 0
        between = updates_between(done - before, self._every)
        return between or self._ends_warm_up(done) or self._schedule.saves(done)

    def _trains_no_encoder(self, done: int) -> bool:
        """Whether the encoder is the one of the run's start, whose statistics are known."""
        return phases.trains_language_model(self._settings.warm_up, done)

    def _fresh(self, warm_up: WarmUp) -> TrainState:
        """The state before the first step of the run, but for what the second phase leaves out:
        the encoder of an autoencoder, and all parameters of a language model.
        """
        run = self._run
        state = init_state(
            run.model,
            self._settings.optimizer,
            self._init_key,
            run.mesh,
            shard_state=self._shard_state,
        )
        state = state._replace(variables=starts.from_corpus(run, state.variables))
        return load_named(run, state)[0] if warm_up.kind == "autoencoder" else state
