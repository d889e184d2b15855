"""When a run stops for lack of improvement: `train.patience`."""

import math

from vaetx_jax.training.schedule import Schedule


class Patience:
    """Counts the validations since the best one.

    Only validations that may become `best` count: none of a warm-up, and with cyclic annealing the
    ends of its cycles alone, between which the perplexity rises and falls with the KL weight.

    The count is a function of the best step and the schedule, so that a resumed run has the same.

    Args:
      most: validations without improvement after which the run stops; 0: it never does.
      schedule: of the run.
      best: (step, validation perplexity) of the best checkpoint; None: there is none yet.
      done: updates done.
    """

    def __init__(self, most: int, schedule: Schedule, *, best: tuple[int, float] | None, done: int):
        self._most = most
        self._best_step, self._best = best or (0, math.inf)
        self._since = schedule.candidates(self._best_step, done)

    def add(self, done: int, perplexity: float) -> None:
        """Counts a validation that may become `best`; of equal ones, that is the later."""
        if math.isfinite(perplexity) and perplexity <= self._best:
            self._best_step, self._best, self._since = done, perplexity, 0
        else:
            self._since += 1

    @property
    def exhausted(self) -> bool:
        """Whether the run is to stop."""
        return 0 < self._most <= self._since

    @property
    def reason(self) -> str:
        """Why it stops, in words."""
        since = f"since step {self._best_step:,}" if self._best_step else "at all"
        return (
            f"valid/ppl_elbo has not improved {since}, for {self._since} validations "
            f"(train.patience = {self._most})"
        )
