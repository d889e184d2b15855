"""The host loop: when to step, log, validate, save, stop and resume. All else lies below."""

import dataclasses
import pathlib
import time
from typing import Any

import jax
from ml_collections import ConfigDict

from vaetx_jax.config import validation
from vaetx_jax.data.batches import read_ahead
from vaetx_jax.data.bucketing import Batch
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.losses.annealing import ANNEALINGS
from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.metrics.summary import split_facts, summary
from vaetx_jax.models.text_vae import Variables
from vaetx_jax.run.metric_log import MetricWriter
from vaetx_jax.run.run import Run
from vaetx_jax.run.workdir import CHECKPOINTS
from vaetx_jax.runtime import processes
from vaetx_jax.runtime.console import Progress, notify
from vaetx_jax.runtime.mesh import put_batch, replicate
from vaetx_jax.runtime.signals import StopSignals
from vaetx_jax.training import starts
from vaetx_jax.training import state as state_lib
from vaetx_jax.training import step as step_lib
from vaetx_jax.training.checkpoint import CheckpointInfo, Checkpoints, UnsavedError
from vaetx_jax.training.host_updates import HostUpdates
from vaetx_jax.training.nonfinite import keep_batch
from vaetx_jax.training.phases import trains_language_model, warm_up_of
from vaetx_jax.training.state import TrainState
from vaetx_jax.training.step import StepMetrics, StepSettings
from vaetx_jax.training.warm_start import foreign_variables, pretrained

AGREE_EVERY = 8  # steps between two times that several processes ask each other whether to stop
SAVE_AGAIN = (1.0, 5.0, 20.0)  # seconds before each further try to save a state that must be
MOST_SKIPPED = 20  # steps in a row; what is not finite so often will not become so


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
      ConfigError: there are more cycles than steps.
    """
    total = config.train.steps or config.train.epochs * steps_per_epoch
    warm_up = warm_up_of(config.train, total, cycles=config.objective.cycles)
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
        warm_up=warm_up,
    )


class Trainer:
    """One training run in its folder.

    Args:
      run: the run to train.
      label: is put before the lines that tell of it.
      together: how many runs share its steps; the speeds are those of all of them.
    """

    def __init__(self, run: Run, label: str = "", together: int = 1):
        self._run, self._label, self._together = run, f"{label}  " * bool(label), together
        config = run.config
        self.batches = run.train_batches
        self.settings = step_settings(config, self.batches.steps_per_epoch)
        self._save_at = _validation_steps(config, self.settings, self.batches.steps_per_epoch)
        # A state of the warm-up is saved, but is no text VAE yet.
        before = warm_up_steps(self.settings)
        self._validate_at = frozenset(done for done in self._save_at if done > before)
        self._valid = run.split("valid")
        self._estimator = Estimator(run.model, run.mesh, seed=config.evaluation.seed)
        self.init_key, self.key = jax.random.split(jax.random.key(config.seed))
        self._shard_state = bool(config.mesh.shard_state)
        self._train_step, self._language_model_step = (
            step_lib.make_train_step(
                run.training_model(),
                self.settings,
                run.mesh,
                shard_state=self._shard_state,
                latent=latent,
            )
            for latent in (True, False)
        )
        self.updates = HostUpdates(
            run, self.settings, evaluated=self.is_scheduled, fresh=self.fresh_state
        )
        self.checkpoints = Checkpoints(run.folder / CHECKPOINTS, writable=True)
        self._unsaved = False  # the last save failed: the next comes at the next logged step
        self._skipped = 0  # steps in a row that were not finite

    def start_state(self) -> tuple[TrainState, str]:
        """The state to go on from, and words for where it comes from."""
        state = self.fresh_state()
        latest = self.checkpoints.latest()
        if latest is not None:
            return self.checkpoints.restore(latest, state), f"goes on after step {latest:,}"
        return self.first_state(state)

    def fresh_state(self) -> TrainState:
        """A state before the first step, with what the model starts from the training split."""
        run = self._run
        state = state_lib.init_state(
            run.model,
            self.settings.optimizer,
            self.init_key,
            run.mesh,
            shard_state=self._shard_state,
        )
        return self.with_starts(state)

    def with_starts(self, state: TrainState) -> TrainState:
        """A random state with what the model starts from the training split."""
        variables = starts.from_corpus(self._run, state.variables)
        return state if variables is state.variables else state._replace(variables=variables)

    def first_state(self, state: TrainState) -> tuple[TrainState, str]:
        """A fresh state, with parameters from elsewhere where the config names them; in words."""
        state, words = self._initialised(state)
        return self.updates.start(state), words

    def _initialised(self, state: TrainState) -> tuple[TrainState, str]:
        run, config = self._run, self._run.config
        if config.train.init_from:
            source = pathlib.Path(config.train.init_from)
            variables, step = foreign_variables(source, run, state.variables)
            return state._replace(variables=variables), f"starts from {source}, step {step:,}"
        settings = validation.model_settings(config)
        if settings.weights is not None:
            return pretrained(state, settings)
        return state, "starts from random parameters"

    def run(self, state: TrainState) -> Outcome:
        """Trains to the last step.

        Raises:
          StoppedError: a signal asked to stop; the state is saved.
          UserError: a step was not finite, or the last state cannot be saved.
        """
        first, began = int(state.step), time.monotonic()
        self.open(first)
        try:
            with StopSignals() as stop:
                state = self._steps(state, first, stop)
        finally:
            self.close()
        return Outcome(state.variables, self.settings.total_steps, time.monotonic() - began)

    def open(self, first: int) -> None:
        """Opens the files of metrics of a run that goes on after step `first`."""
        self._writer = MetricWriter(self._run.folder, step=first) if processes.is_first() else None
        self.progress = Progress(self.settings.total_steps, done=first)
        self._window = _Window(first)

    def close(self) -> None:
        """Closes them."""
        if self._writer:
            self._writer.close()

    def _steps(self, state: TrainState, first: int, stop: "StopSignals") -> TrainState:
        total = self.settings.total_steps
        late: tuple[int, StepMetrics, Batch] | None = None
        for index, batch in read_ahead(self.batches, first, total):
            done = index + 1
            arrays = put_batch({"ids": batch["ids"], "weight": batch["weight"]}, self._run.mesh)
            step = self._train_step
            if trains_language_model(self.settings.warm_up, index):
                step = self._language_model_step
            state, metrics = step(state, arrays, self.key)
            if self.updates.due(done):
                state = self.updates.apply(done, state)
            if late:
                self.read(*late)
            late = (done, metrics, batch)
            stops = self._stops(done, stop)
            if self.saves_at(done) or stops:
                self.read(*late)  # nothing is saved before it is known to be finite
                late = None
                self.save(done, state, stopping=stops)
            if stops and done < total:
                self.progress.clear()
                raise StoppedError(f"stopped after step {done:,} of {total:,}; its state is saved")
        if late:
            self.read(*late)
        return state

    def _write(self, done: int, numbers: dict[str, Any]) -> None:
        if self._writer:
            self._writer.write(done, numbers)

    def _stops(self, done: int, stop: StopSignals) -> bool:
        """Whether to stop after this step; processes agree on it, now and then."""
        if jax.process_count() == 1:
            return stop.asked
        return done % AGREE_EVERY == 0 and processes.any_of(stop.asked)

    def saves_at(self, done: int) -> bool:
        """Whether a checkpoint (and perhaps a validation) is due after `done` updates."""
        again = self._unsaved and done % self._run.config.train.log_every == 0
        return self.is_scheduled(done) or again

    def is_scheduled(self, done: int) -> bool:
        """Whether a checkpoint after `done` updates is due by the config alone."""
        every = self._run.config.train.checkpoint_every
        return done in self._save_at or bool(every and done % every == 0)

    def read(self, done: int, metrics: StepMetrics, batch: Batch) -> None:
        """Looks at a step's metrics, logs them where it is due.

        Raises:
          UserError: the step was not finite, and the run is not to skip it.
        """
        if bool(metrics.finite):
            self._skipped = 0
        else:
            self._not_finite(done, batch)
        config = self._run.config
        if done % config.train.log_every == 0 or done == self.settings.total_steps:
            numbers = step_lib.window_metrics(metrics)
            if self.settings.skip_nonfinite:
                of_window = (done - 1) % self.settings.window + 1
                numbers["train/skipped"] = of_window - int(metrics.sums.steps)
            numbers |= self._window.rates(done, float(metrics.sums.tokens))
            numbers["perf/padding"] = self.batches.padding
            if self._together > 1:
                numbers["perf/together"] = self._together
            self._write(done, numbers)
            words = _words(done, numbers, self.batches.steps_per_epoch)
            self.progress.line(done, self._label + words)
        else:
            self.progress.tick(done)

    def _not_finite(self, done: int, batch: Batch) -> None:
        """Keeps the batch; tells of it, or raises UserError where the run is to stop."""
        folder, latest = self._run.folder, self.checkpoints.latest()
        try:
            path = keep_batch(folder, done, batch, pad_id=self._run.tokenizer.pad_id)
            where = f"its batch is in {path}"
        except OSError as error:
            where = f"its batch could not be kept ({error.strerror})"
        what = f"step {done:,}: the loss or its gradient is not finite; {where}"
        self._skipped += 1
        if self.settings.skip_nonfinite and self._skipped < MOST_SKIPPED:
            notify(f"warning: {self._label}{what}; the step is skipped")
            return
        saved = f"checkpoint {latest:,} is the last one" if latest else "nothing was saved"
        many = f", the {self._skipped}th in a row," if self.settings.skip_nonfinite else ""
        raise UserError(
            f"{what}. The step{many} was not taken and the run stops ({saved}). Try a smaller "
            "config.train.learning_rate or config.train.clip_norm=1.0"
        )

    def save(self, done: int, state: TrainState, *, stopping: bool = False) -> None:
        """Saves a state after `done` updates; validates it where that is due.

        Where it cannot be saved the training goes on and tries again later, but for the last state,
        for which it waits a while.

        Raises:
          UnsavedError: the last state cannot be saved.
        """
        began = time.monotonic()
        perplexity = None
        if done in self._validate_at:
            figures = self._validation(state.variables)
            self._write(done, {f"valid/{name}": v for name, v in figures.items()})
            perplexity = figures["ppl_elbo"]
            self.progress.line(done, self._label + _valid_words(figures))
        objective, total = self.settings.objective, self.settings.total_steps
        schedule, before = ANNEALINGS[objective.annealing], warm_up_steps(self.settings)
        candidate = done > before and schedule.may_be_best(
            done - before, total - before, objective.cycles
        )
        facts = CheckpointInfo(done, perplexity, candidate=candidate)
        pauses = SAVE_AGAIN if stopping or done == self.settings.total_steps else ()
        self._save(state, facts, pauses)
        self._window.leave_out(time.monotonic() - began)

    def _save(self, state: TrainState, facts: CheckpointInfo, pauses: tuple[float, ...]) -> None:
        latest = self.checkpoints.latest()
        kept = f"checkpoint {latest:,} stays the last" if latest else "nothing is saved yet"
        for number, pause in enumerate([0.0, *pauses]):
            time.sleep(pause)
            try:
                self.checkpoints.save(state, facts)
            except UnsavedError as error:
                self._unsaved = True
                if jax.process_count() > 1 or (pauses and number == len(pauses)):
                    raise UnsavedError(f"{error}; {kept}") from error
                notify(f"warning: {error}; {kept}; it is tried again")
            else:
                if self._unsaved:
                    notify(f"note: the state after step {facts.step:,} is saved")
                self._unsaved = False
                return

    def _validation(self, variables: Variables) -> dict[str, Any]:
        batches = self._run.eval_batches(self._valid)
        progress = Progress(len(batches))
        estimates = self._estimator.run(
            replicate(variables, self._run.mesh),
            batches,
            sentences=len(self._valid),
            progress=lambda done, total: progress.tick(done, "validation"),
        )
        progress.clear()
        return summary(estimates, split_facts(self._valid), iw_samples=0)


def warm_up_steps(settings: StepSettings) -> int:
    """The steps of a run's warm-up; 0: there is none."""
    return settings.warm_up.steps if settings.warm_up else 0


def _validation_steps(
    config: ConfigDict, settings: StepSettings, steps_per_epoch: int
) -> frozenset[int]:
    """After how many updates to save and, after the warm-up, to validate.

    The ends of the warm-up, of cycles and of the run are among them.
    """
    objective, total, before = settings.objective, settings.total_steps, warm_up_steps(settings)
    every = config.train.validate_every or steps_per_epoch
    ends = ANNEALINGS[objective.annealing].validated_ends(total - before, objective.cycles)
    after = frozenset(before + end for end in (0, *ends)) - {0}
    return frozenset(range(every, total + 1, every)) | after


class _Window:
    """Steps and tokens a second since the last logged step, validation and saving left out."""

    def __init__(self, done: int):
        self._done, self._began, self._left_out = done, time.monotonic(), 0.0

    def leave_out(self, seconds: float) -> None:
        self._left_out += seconds

    def rates(self, done: int, tokens: float) -> dict[str, float]:
        now = time.monotonic()
        seconds = max(now - self._began - self._left_out, 1e-9)
        steps = done - self._done
        self._done, self._began, self._left_out = done, now, 0.0
        return {
            "perf/steps_per_second": steps / seconds,
            "perf/tokens_per_second": tokens / seconds,
        }


def _words(done: int, numbers: dict[str, float], steps_per_epoch: int) -> str:
    return (
        f"epoch {done / steps_per_epoch:6.2f}  loss {numbers['train/loss']:7.2f}  "
        f"ppl_rec {numbers['train/ppl_rec']:8.2f}  kl {numbers['train/kl']:6.2f}  "
        f"α {numbers['train/kl_weight']:4.2f}  {numbers['perf/tokens_per_second']:7,.0f} tok/s"
    )


def _valid_words(figures: dict[str, Any]) -> str:
    words = f"valid: nll {figures['nll']:.2f}  ppl_elbo {figures['ppl_elbo']:.2f}  "
    words += f"ppl_rec {figures['ppl_rec']:.2f}"
    if figures["latent_dim"]:
        words += f"  kl {figures['kl']:.2f}  mi {figures['mi']:.2f}  au {figures['au']}"
    return words
