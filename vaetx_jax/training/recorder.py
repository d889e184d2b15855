"""Everything that a run writes while it trains: metrics, progress, validations, checkpoints.

A training loop steps and hands its results to a `Recorder`, which knows what is due after which
update, and what becomes of a step that is not finite.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax

from vaetx_jax.data.bucketing import Batch
from vaetx_jax.errors import UserError
from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.metrics.summary import split_facts, summary
from vaetx_jax.models.language_model import Variables
from vaetx_jax.run.metric_log import MetricWriter
from vaetx_jax.run.run import Run
from vaetx_jax.run.trackers import Trackers
from vaetx_jax.runtime import processes
from vaetx_jax.runtime.console import Progress, notify
from vaetx_jax.runtime.mesh import replicate
from vaetx_jax.training import step as step_lib
from vaetx_jax.training.checkpoint import CheckpointInfo, Checkpoints, UnsavedError
from vaetx_jax.training.nonfinite import keep_batch
from vaetx_jax.training.patience import Patience
from vaetx_jax.training.schedule import Schedule
from vaetx_jax.training.state import TrainState
from vaetx_jax.training.step import StepMetrics, StepSettings

SAVE_AGAIN = (1.0, 5.0, 20.0)  # seconds before each further try to save a state that must be
MOST_SKIPPED = 20  # steps in a row; more of them will not become finite either


class Recorder:
    """The records of one run, from an update on to its last.

    Args:
      run: the run.
      settings: of its steps.
      checkpoints: its checkpoints, open for writing.
      first: updates done when the training starts; later rows of metrics are cut.
      label: prefix of its log lines.
      together: runs that share its steps; the speeds are those of all of them.
      patience: counts the validations that may become `best`; None: training never stops early.
    """

    def __init__(
        self,
        run: Run,
        settings: StepSettings,
        checkpoints: Checkpoints,
        *,
        first: int,
        label: str = "",
        together: int = 1,
        patience: Patience | None = None,
    ):
        self._run, self._settings, self._checkpoints = run, settings, checkpoints
        self._label, self._together = f"{label}  " * bool(label), together
        self._validator = Validator(run)
        self._schedule, self._patience = Schedule(run, settings), patience
        self._unsaved = False  # the last save failed: the next comes at the next logged step
        self._skipped = 0  # steps in a row that were not finite
        self._writer = _open_writer(run, first) if processes.is_first() else None
        self._progress = Progress(settings.total_steps, done=first)
        self._window = _Window(first)

    def close(self) -> None:
        """Waits for the last checkpoint and closes the files of metrics."""
        # Whoever leaves at once waits for nothing; other processes may not come here at all.
        if jax.process_count() == 1 and not isinstance(sys.exception(), KeyboardInterrupt):
            self._learn()
        if self._writer:
            self._writer.close()

    def clear_progress(self) -> None:
        """Removes the progress line, so that another line can be printed."""
        self._progress.clear()

    def is_due(self, done: int) -> bool:
        """Whether a checkpoint (and perhaps a validation) is due after `done` updates."""
        if jax.process_count() == 1 and self._checkpoints.is_finished():
            self._learn()
        again = self._unsaved and done % self._settings.window == 0
        return again or self._schedule.saves(done)

    def read(self, done: int, metrics: StepMetrics, batch: Batch) -> None:
        """Checks that a step was finite, and logs its metrics where that is due.

        Raises:
          UserError: the step was not finite, and the run is not to skip it.
        """
        if bool(metrics.finite):
            self._skipped = 0
        else:
            self._handle_nonfinite(done, batch)
        if done % self._settings.window == 0 or done == self._settings.total_steps:
            self._log(done, metrics)
        else:
            self._progress.tick(done)

    def save(self, done: int, state: TrainState, *, stopping: bool = False) -> None:
        """Saves the state after `done` updates; validates it first where that is due.

        Where it cannot be saved the training goes on and tries again later, except for the last
        state, which is written before this returns, and for which it waits a while.

        Raises:
          UnsavedError: the last state cannot be saved.
        """
        began = time.monotonic()
        perplexity = self._validate(done, state) if self._schedule.validates(done) else None
        candidate = self._schedule.may_be_best(done)
        if self._patience and candidate and perplexity is not None:
            self._patience.add(done, perplexity)
        exhausted = self._patience is not None and self._patience.exhausted
        last = stopping or exhausted or done == self._settings.total_steps
        info = CheckpointInfo(done, perplexity, candidate=candidate)
        self._save(state, info, SAVE_AGAIN if last else ())
        self._window.leave_out(time.monotonic() - began)

    def _log(self, done: int, metrics: StepMetrics) -> None:
        batches = self._run.train_batches
        row = step_lib.window_metrics(metrics)
        if self._settings.skip_nonfinite:
            steps = (done - 1) % self._settings.window + 1
            row["train/skipped"] = steps - int(metrics.sums.steps)
        row |= self._window.rates(done, float(metrics.sums.tokens), float(metrics.sums.steps))
        row["perf/padding"] = batches.padding
        if self._together > 1:
            row["perf/together"] = self._together
        self._write(done, row)
        self._progress.line(done, self._label + _train_line(done, row, batches.steps_per_epoch))

    def _write(self, done: int, row: dict[str, Any]) -> None:
        if self._writer:
            self._writer.write(done, row)

    def _handle_nonfinite(self, done: int, batch: Batch) -> None:
        """Keeps the batch; warns, or raises UserError where the run is to stop."""
        try:
            path = keep_batch(self._run.folder, done, batch, pad_id=self._run.tokenizer.pad_id)
            where = f"its batch is in {path}"
        except OSError as error:
            where = f"its batch could not be kept ({error.strerror})"
        what = f"step {done:,}: the loss or its gradient is not finite; {where}"
        self._skipped += 1
        if self._settings.skip_nonfinite and self._skipped < MOST_SKIPPED:
            notify(f"warning: {self._label}{what}; the step is skipped")
            return
        self._learn()
        latest = self._checkpoints.latest()
        saved = f"checkpoint {latest:,} is the last one" if latest else "nothing was saved"
        many = f", the {self._skipped}th in a row," if self._settings.skip_nonfinite else ""
        raise UserError(
            f"{what}. The step{many} was not taken and the run stops ({saved}). Try a smaller "
            "config.train.learning_rate or config.train.clip_norm=1.0"
        )

    def _validate(self, done: int, state: TrainState) -> float:
        """Validates a state and logs its metrics; the perplexity by the ELBO."""
        metrics = self._validator(state.variables)
        self._write(done, {f"valid/{name}": value for name, value in metrics.items()})
        self._progress.line(done, self._label + _valid_line(metrics))
        return float(metrics["ppl_elbo"])

    def _save(self, state: TrainState, info: CheckpointInfo, pauses: tuple[float, ...]) -> None:
        self._learn()
        if not pauses:
            self._checkpoints.begin(state, info)
            return
        for pause in pauses:
            self._checkpoints.begin(state, info)
            if self._learn():
                return
            time.sleep(pause)
        self._checkpoints.begin(state, info)
        self._finish()

    def _learn(self) -> bool:
        """Waits for the save that is under way, if any; says so and returns False if it failed.

        Raises:
          UnsavedError: with several processes, which cannot try again each by itself.
        """
        try:
            self._finish()
        except UnsavedError as error:
            if jax.process_count() > 1:
                raise
            self._unsaved = True
            notify(f"warning: {error}; it is tried again")
            return False
        return True

    def _finish(self) -> None:
        """Waits for the save that is under way, if any.

        Raises:
          UnsavedError: it failed; says what is kept.
        """
        try:
            saved = self._checkpoints.finish()
        except UnsavedError as error:
            latest = self._checkpoints.latest()
            kept = (
                f"checkpoint {latest:,} is still the latest" if latest else "nothing is saved yet"
            )
            raise UnsavedError(f"{error}; {kept}") from error
        if saved and self._unsaved:
            notify(f"note: the state after step {saved.step:,} is saved")
            self._unsaved = False


def _open_writer(run: Run, first: int) -> MetricWriter:
    trackers = Trackers(run.folder, run.config.to_dict())
    return MetricWriter(run.folder, step=first, trackers=trackers)


class Pending:
    """Reads each step's results after the next step has been started.

    Reading waits for the devices: one step later they are never idle.

    Args:
      read: called with what was given to `push`.
    """

    def __init__(self, read: Callable[[int, StepMetrics, Batch], None]):
        self._read = read
        self._pending: tuple[int, StepMetrics, Batch] | None = None

    def push(self, done: int, metrics: StepMetrics, batch: Batch) -> None:
        """Takes the results of a step and reads those of the step before."""
        self.flush()
        self._pending = (done, metrics, batch)

    def flush(self) -> None:
        """Reads the results that were taken last."""
        results, self._pending = self._pending, None
        if results is not None:
            self._read(*results)


class Validator:
    """The validation split of a run: variables -> its metrics, named as in `evaluation.json`."""

    def __init__(self, run: Run):
        self._run, self._split = run, run.split("valid")
        self._estimator = Estimator(run.model, run.mesh, seed=run.config.evaluation.seed)

    def __call__(self, variables: Variables) -> dict[str, Any]:
        batches = self._run.eval_batches(self._split)
        progress = Progress(len(batches))
        estimates = self._estimator.run(
            replicate(variables, self._run.mesh),
            batches,
            sentences=len(self._split),
            progress=lambda done, total: progress.tick(done, "validation"),
        )
        progress.clear()
        return summary(estimates, split_facts(self._split), iw_samples=0)


class _Window:
    """Steps and tokens per second since the last logged step, validation and saving left out."""

    def __init__(self, done: int):
        self._done, self._began, self._left_out = done, time.monotonic(), 0.0

    def leave_out(self, seconds: float) -> None:
        self._left_out += seconds

    def rates(self, done: int, tokens: float, of_steps: float) -> dict[str, float]:
        """The rates up to now; `tokens` are those of so many steps.

        After a resume these are more steps than this process has taken, since the sums go on.
        """
        now = time.monotonic()
        seconds = max(now - self._began - self._left_out, 1e-9)
        steps = done - self._done
        tokens *= min(steps / max(of_steps, 1.0), 1.0)
        self._done, self._began, self._left_out = done, now, 0.0
        return {
            "perf/steps_per_second": steps / seconds,
            "perf/tokens_per_second": tokens / seconds,
        }


def _train_line(done: int, row: dict[str, float], steps_per_epoch: int) -> str:
    return (
        f"epoch {done / steps_per_epoch:6.2f}  loss {row['train/loss']:7.2f}  "
        f"ppl_rec {row['train/ppl_rec']:8.2f}  kl {row['train/kl']:z6.2f}  "
        f"α {row['train/kl_weight']:4.2f}  {row['perf/tokens_per_second']:7,.0f} tok/s"
    )


def _valid_line(metrics: dict[str, Any]) -> str:
    line = f"valid: nll {metrics['nll']:.2f}  ppl_elbo {metrics['ppl_elbo']:.2f}  "
    line += f"ppl_rec {metrics['ppl_rec']:.2f}"
    if metrics["latent_dim"]:
        line += f"  kl {metrics['kl']:z.2f}  mi {metrics['mi']:z.2f}  au {metrics['au']}"
    return line
