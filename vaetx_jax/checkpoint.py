"""Checkpoints: the only file that knows orbax.

Checkpoint N means N updates done. Kept are the latest two and the best; each carries, beside the
state, the facts by which it is judged, so that `best` is known again after a restart.
"""

import dataclasses
import logging
import math
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp

from vaetx_jax.errors import DamagedError, UserError
from vaetx_jax.step import TrainState

KEEP_LATEST = 2


@dataclasses.dataclass(frozen=True)
class Facts:
    """By what a checkpoint is judged.

    Attributes:
      step: updates done.
      valid_ppl_elbo: perplexity by the ELBO on the validation split; None where it was not taken.
      candidate: the checkpoint may become `best` (the end of a cycle, or there are no cycles).
    """

    step: int
    valid_ppl_elbo: float | None
    candidate: bool

    @property
    def score(self) -> float:
        """Lower is better; infinite for what cannot be `best`."""
        value = self.valid_ppl_elbo
        if not self.candidate or value is None or not math.isfinite(value):
            return math.inf
        return value


class Checkpoints:
    """The checkpoints of one run.

    Args:
      folder: WORKDIR/checkpoints.
      writable: whether steps will be saved and old ones deleted.
    """

    def __init__(self, folder: pathlib.Path, *, writable: bool):
        # Orbax warns that a step saved on other devices may not fit (we always say onto which
        # devices to restore), and that a folder we only read from is read only.
        logging.getLogger("absl").addFilter(_worth_telling)
        if not writable and not folder.is_dir():
            raise UserError(f"{folder}: no checkpoints here; train first or give another --workdir")
        self.folder = folder = folder.resolve()  # orbax wants absolute paths
        self._facts: dict[int, Facts] = {}
        options = _READ_ONLY
        if writable:
            options = ocp.CheckpointManagerOptions(
                enable_async_checkpointing=False,
                preservation_policy=_KeepLatestAndBest(self),
            )
        self._manager = ocp.CheckpointManager(folder, options=options)
        for step in self._manager.all_steps():
            try:
                self._facts[step] = self._read_facts(step)
            except DamagedError as error:  # a kill while it was deleted leaves half of it
                print(f"note: passed over {error}", file=sys.stderr)

    def save(self, state: TrainState, facts: Facts) -> None:
        """Saves a state under its step; a step that is there already is left as it is."""
        if facts.step in self._facts:
            return
        if facts.step in self._manager.all_steps():
            self._manager.delete(facts.step)  # it was passed over; orbax would not replace it
        self._facts[facts.step] = facts
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), facts=ocp.args.JsonSave(dataclasses.asdict(facts))
        )
        try:
            self._manager.save(facts.step, args=items, force=True)
        except BaseException:
            del self._facts[facts.step]  # nothing was saved; the step may be tried again
            raise

    def steps(self) -> list[int]:
        """The steps there are, in order."""
        return sorted(step for step in self._manager.all_steps() if step in self._facts)

    def latest(self) -> int | None:
        """The last step, or None."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """The step with the lowest validation perplexity among the candidates, or None."""
        judged = [f for s, f in self._facts.items() if s in self.steps() and f.score < math.inf]
        return min(judged, key=lambda facts: (facts.score, -facts.step)).step if judged else None

    def forget_after(self, step: int) -> None:
        """Deletes the checkpoints of later steps, which will be trained again."""
        for later in [s for s in self.steps() if s > step]:
            self._manager.delete(later)
            self._facts.pop(later, None)

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The whole state of a step, onto the devices `like` lies on."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._restore(step, state=ocp.args.StandardRestore(abstract))["state"]

    def restore_params(self, step: int, like: Any) -> Any:
        """The parameters of a step alone, onto the devices `like` lies on."""
        tree = {"params": jax.tree.map(ocp.utils.to_shape_dtype_struct, like)}
        shardings = jax.tree.map(lambda x: ocp.ArrayRestoreArgs(sharding=x.sharding), tree)
        # A manager knows one kind of handler for an item: the whole state's is the other one.
        manager = ocp.CheckpointManager(self.folder, options=_READ_ONLY)
        args = ocp.args.PyTreeRestore(tree, restore_args=shardings, partial_restore=True)
        return manager.restore(step, args=ocp.args.Composite(state=args))["state"]["params"]

    def close(self) -> None:
        """Waits for what is still being written."""
        self._manager.close()

    def _restore(self, step: int, **items: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:
            raise DamagedError(
                f"{self.folder / str(step)}: this checkpoint cannot be read "
                f"({type(error).__name__}); delete its folder to go on from the one before"
            ) from error

    def _read_facts(self, step: int) -> Facts:
        return Facts(**self._restore(step, facts=ocp.args.JsonRestore())["facts"])


# Orbax warns of the last two unless they are said.
_READ_ONLY = ocp.CheckpointManagerOptions(read_only=True, create=False, save_interval_steps=0)


class _KeepLatestAndBest:
    """Orbax's own BestN forgets its metrics when a run is started again."""

    def __init__(self, checkpoints: Checkpoints):
        self._checkpoints = checkpoints

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        facts = self._checkpoints._facts
        steps = sorted(info.step for info in checkpoints)
        kept = set(steps[-KEEP_LATEST:])
        scored = [facts[s] for s in steps if s in facts and facts[s].score < math.inf]
        if scored:
            kept.add(min(scored, key=lambda f: (f.score, -f.step)).step)
        return [info.step in kept for info in checkpoints]


_OF_NO_USE = ("Sharding info not provided", "Given directory is read only")


def _worth_telling(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(words in message for words in _OF_NO_USE)


def choose(checkpoints: Checkpoints, wanted: str) -> tuple[int, str]:
    """A step by name: `best`, `last` or a number; with words for what was taken.

    Raises:
      UserError: there is no such checkpoint.
    """
    steps = checkpoints.steps()
    if not steps:
        raise UserError(f"{checkpoints.folder}: no checkpoint here yet; train first")
    best = checkpoints.best()
    if wanted == "best" and best is not None:
        return best, "best"
    if wanted == "best":
        return steps[-1], "last (no validation at the end of a cycle yet, so there is no best)"
    if wanted == "last":
        return steps[-1], "last"
    if wanted.isdecimal() and int(wanted) in steps:
        return int(wanted), "chosen"
    there = ", ".join(map(str, steps))
    raise UserError(f"--checkpoint={wanted}: take best, last or one of the steps {there}")
