"""What the host changes in a state between two steps: the phase of the run, and its statistics.

All of it depends on the step and the state alone, so that a resumed run is the uninterrupted one,
bit for bit. A checkpoint of a step holds the state after these changes.
"""

from collections.abc import Callable

from vaetx_jax.run.run import Run
from vaetx_jax.training import phases
from vaetx_jax.training.state import TrainState
from vaetx_jax.training.statistics import SplitStatistics, is_standardised, update_every
from vaetx_jax.training.step import StepSettings


class HostUpdates:
    """The changes of one run.

    Args:
      run: the run.
      settings: of its steps.
      evaluated: after how many updates a state is validated or saved as scheduled; its statistics
        are then exact. A run that a signal stops elsewhere is saved as it is.
      fresh: makes the state before the first step, placed as a state of the run is.
    """

    def __init__(
        self,
        run: Run,
        settings: StepSettings,
        *,
        evaluated: Callable[[int], bool],
        fresh: Callable[[], TrainState],
    ):
        self._warm_up, self._evaluated, self._fresh = settings.warm_up, evaluated, fresh
        self._statistics = SplitStatistics(run) if is_standardised(run) else None
        self._every = update_every(run) if self._statistics else 0

    def due(self, done: int) -> bool:
        """Whether the state after `done` updates is changed."""
        return self._ends_warm_up(done) or self._updates_statistics(done)

    def apply(self, done: int, state: TrainState) -> TrainState:
        """The state after `done` updates with the changes that are due."""
        if self._warm_up and self._ends_warm_up(done):
            state = phases.second_phase(state, self._fresh(), self._warm_up)
        if self._statistics and self._updates_statistics(done):
            state = state._replace(variables=self._statistics.updated(state.variables))
        return state

    def start(self, state: TrainState) -> TrainState:
        """A state before the first step with its statistics."""
        if self._statistics is None:
            return state
        return state._replace(variables=self._statistics.updated(state.variables))

    def _ends_warm_up(self, done: int) -> bool:
        return self._warm_up is not None and done == self._warm_up.steps

    def _updates_statistics(self, done: int) -> bool:
        if self._statistics is None:
            return False
        scheduled = self._every and done % self._every == 0
        return bool(scheduled) or self._ends_warm_up(done) or self._evaluated(done)
