"""After which updates a run saves and validates its state: a function of its config alone."""

from vaetx_jax.losses.annealing import ANNEALINGS
from vaetx_jax.run.run import Run
from vaetx_jax.training.step import StepSettings


class Schedule:
    """The scheduled validations and checkpoints of one run.

    In a warm-up, checkpoints are saved where validations would be due; its states are no text VAEs
    yet, so they are not validated and none becomes `best`.
    """

    def __init__(self, run: Run, settings: StepSettings):
        self._objective = settings.objective
        self._before = settings.warm_up.steps if settings.warm_up else 0
        self._total = settings.total_steps
        train = run.config.train
        every = train.validate_every or run.train_batches.steps_per_epoch
        regular = frozenset(range(every, self._total + 1, every))
        self._validated = frozenset(done for done in regular if done > self._before) | self._ends()
        self._saved = regular | self._validated | ({self._before} if self._before else frozenset())
        self._checkpoint_every = train.checkpoint_every

    def validates(self, done: int) -> bool:
        """Whether the state after `done` updates is validated."""
        return done in self._validated

    def saves(self, done: int) -> bool:
        """Whether the state after `done` updates is saved."""
        every = self._checkpoint_every
        return done in self._saved or bool(every and done % every == 0)

    def may_be_best(self, done: int) -> bool:
        """Whether the checkpoint after `done` updates may become `best`."""
        annealing, cycles = ANNEALINGS[self._objective.annealing], self._objective.cycles
        after, total = done - self._before, self._total - self._before
        return after > 0 and annealing.may_be_best(after, total, cycles)

    def candidates(self, after: int, done: int) -> int:
        """How many validations that may become `best` are due after `after` and up to `done`."""
        return sum(after < step <= done and self.may_be_best(step) for step in self._validated)

    def _ends(self) -> frozenset[int]:
        """The ends of the cycles and of the run."""
        annealing, cycles = ANNEALINGS[self._objective.annealing], self._objective.cycles
        ends = annealing.validated_ends(self._total - self._before, cycles)
        return frozenset(self._before + end for end in ends)
