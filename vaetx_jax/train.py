"""The host loop: when to step, log, validate, save, stop and resume. All else lies below."""

import dataclasses
import pathlib
import signal
import threading
import time
from typing import Any

import jax
from ml_collections import ConfigDict

from vaetx_jax import config as config_lib
from vaetx_jax import schedules
from vaetx_jax import step as step_lib
from vaetx_jax.checkpoint import Checkpoints, Facts, choose
from vaetx_jax.data.batches import read_ahead
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.estimate import Estimator, summary
from vaetx_jax.mesh import put_batch
from vaetx_jax.models import gpt2
from vaetx_jax.parts import Parts, load_parts, split_facts
from vaetx_jax.presets import ModelSettings
from vaetx_jax.step import Plan, StepMetrics, TrainState
from vaetx_jax.workdir import CHECKPOINTS
from vaetx_jax.writer import MetricWriter, Progress


class StoppedError(Exception):
    """The run was asked to stop; it has saved its state and goes on when started again."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a training ended: the state after the last step, and the time it took."""

    params: Any
    steps: int
    seconds: float


def make_plan(config: ConfigDict, steps_per_epoch: int) -> Plan:
    """The plan of a run's steps from its config."""
    train, objective = config.train, config.objective
    total = train.steps or train.epochs * steps_per_epoch
    if objective.cycles > total:
        raise ConfigError(
            f"config.objective.cycles = {objective.cycles}: more cycles than the {total} steps"
        )
    return Plan(
        total_steps=total,
        annealing=objective.annealing,
        cycles=objective.cycles,
        ratio=objective.ratio,
        learning_rate=train.learning_rate,
        final_learning_rate=train.final_learning_rate,
        weight_decay=train.weight_decay,
        decay=config_lib.decay(config),
        beta1=train.beta1,
        beta2=train.beta2,
        clip_norm=train.clip_norm,
        free_bits=objective.free_bits,
        window=train.log_every,
    )


class Trainer:
    """One training run in its folder.

    Args:
      parts: what it is made of.
      label: is put before the lines that tell of it.
      together: how many runs share its steps; the speeds are those of all of them.
    """

    def __init__(self, parts: Parts, label: str = "", together: int = 1):
        self._parts, self._label, self._together = parts, f"{label}  " * bool(label), together
        config = parts.config
        self.batches = parts.train_batches
        self.plan = make_plan(config, self.batches.steps_per_epoch)
        self._validate_at = _validation_steps(config, self.plan, self.batches.steps_per_epoch)
        self._valid = parts.split("valid")
        self._estimator = Estimator(parts.model, parts.mesh, seed=config.evaluation.seed)
        self.init_key, self.key = jax.random.split(jax.random.key(config.seed))
        self._train_step = step_lib.make_train_step(parts.training_model(), self.plan, parts.mesh)
        self.checkpoints = Checkpoints(parts.folder / CHECKPOINTS, writable=True)

    def start_state(self) -> tuple[TrainState, str]:
        """The state to go on from, and words for where it comes from."""
        parts = self._parts
        state = step_lib.init_state(parts.model, self.plan, self.init_key, parts.mesh)
        latest = self.checkpoints.latest()
        if latest is not None:
            return self.checkpoints.restore(latest, state), f"goes on after step {latest:,}"
        return self.first_state(state)

    def first_state(self, state: TrainState) -> tuple[TrainState, str]:
        """A fresh state, with parameters from elsewhere where the config names them; in words."""
        parts, config = self._parts, self._parts.config
        if config.train.init_from:
            source = pathlib.Path(config.train.init_from)
            params, step = _foreign_params(source, parts, state.params)
            return state._replace(params=params), f"starts from {source}, step {step:,}"
        settings = config_lib.model_settings(config)
        if settings.weights is not None:
            return _pretrained(state, settings)
        return state, "starts from random parameters"

    def run(self, state: TrainState) -> Outcome:
        """Trains to the last step.

        Raises:
          StoppedError: a signal asked to stop; the state is saved.
          UserError: a step was not finite.
        """
        first, began = int(state.step), time.monotonic()
        self.open(first)
        try:
            with StopSignals() as stop:
                state = self._steps(state, first, stop)
        finally:
            self.close()
        return Outcome(state.params, self.plan.total_steps, time.monotonic() - began)

    def open(self, first: int) -> None:
        """Opens the files of metrics of a run that goes on after step `first`."""
        self._writer = MetricWriter(self._parts.folder, step=first)
        self.progress = Progress(self.plan.total_steps, done=first)
        self._window = _Window(first)

    def close(self) -> None:
        """Closes them, and the checkpoints."""
        self._writer.close()
        self.checkpoints.close()

    def _steps(self, state: TrainState, first: int, stop: "StopSignals") -> TrainState:
        total = self.plan.total_steps
        late: tuple[int, StepMetrics] | None = None
        for index, batch in read_ahead(self.batches, first, total):
            done = index + 1
            arrays = put_batch({"ids": batch["ids"], "weight": batch["weight"]}, self._parts.mesh)
            state, metrics = self._train_step(state, arrays, self.key)
            if late:
                self.read(*late)
            late = (done, metrics)
            if self.saves_at(done) or stop.asked:
                self.read(*late)  # nothing is saved before it is known to be finite
                late = None
                self.save(done, state)
            if stop.asked and done < total:
                self.progress.clear()
                raise StoppedError(f"stopped after step {done:,} of {total:,}; its state is saved")
        if late:
            self.read(*late)
        return state

    def saves_at(self, done: int) -> bool:
        """Whether a checkpoint (and perhaps a validation) is due after `done` updates."""
        every = self._parts.config.train.checkpoint_every
        return done in self._validate_at or bool(every and done % every == 0)

    def read(self, done: int, metrics: StepMetrics) -> None:
        """Looks at a step's metrics, logs them where it is due.

        Raises:
          UserError: the step was not finite.
        """
        if not bool(metrics.finite):
            latest = self.checkpoints.latest()
            saved = f"checkpoint {latest:,} is the last one" if latest else "nothing was saved"
            raise UserError(
                f"step {done:,}: the loss or its gradient is not finite; the step was not taken "
                f"and the run stops ({saved}). Try a smaller config.train.learning_rate or "
                "config.train.clip_norm=1.0"
            )
        config = self._parts.config
        if done % config.train.log_every == 0 or done == self.plan.total_steps:
            numbers = step_lib.window_metrics(metrics)
            numbers |= self._window.rates(done, float(metrics.sums.tokens))
            numbers["perf/padding"] = self.batches.padding
            if self._together > 1:
                numbers["perf/together"] = self._together
            self._writer.write(done, numbers)
            words = _words(done, numbers, self.batches.steps_per_epoch)
            self.progress.line(done, self._label + words)
        else:
            self.progress.tick(done)

    def save(self, done: int, state: TrainState) -> None:
        """Saves a state after `done` updates; validates it where that is due."""
        began = time.monotonic()
        perplexity = None
        if done in self._validate_at:
            figures = self._validation(state.params)
            self._writer.write(done, {f"valid/{name}": v for name, v in figures.items()})
            perplexity = figures["ppl_elbo"]
            self.progress.line(done, self._label + _valid_words(figures))
        cyclic = self.plan.annealing == "cyclic"
        ends = schedules.cycle_ends(self.plan.total_steps, self.plan.cycles)
        facts = Facts(done, perplexity, candidate=not cyclic or done in ends)
        self.checkpoints.save(state, facts)
        self._window.leave_out(time.monotonic() - began)

    def _validation(self, params: Any) -> dict[str, Any]:
        batches = self._parts.eval_batches(self._valid)
        progress = Progress(len(batches))
        estimates = self._estimator.run(
            params,
            batches,
            sentences=len(self._valid),
            progress=lambda done, total: progress.tick(done, "validation"),
        )
        progress.clear()
        return summary(estimates, split_facts(self._valid), iw_samples=0)


def _validation_steps(config: ConfigDict, plan: Plan, steps_per_epoch: int) -> frozenset[int]:
    """After how many updates to validate; the ends of cycles and of the run are among them."""
    every = config.train.validate_every or steps_per_epoch
    ends = schedules.cycle_ends(plan.total_steps, plan.cycles)
    cycles = ends if plan.annealing == "cyclic" else ends[-1:]
    return frozenset(range(every, plan.total_steps + 1, every)) | frozenset(cycles)


def _foreign_params(source: pathlib.Path, parts: Parts, like: Any) -> tuple[Any, int]:
    """The best parameters of another run, which must have this model and this vocabulary."""
    other = load_parts(source)
    mine, theirs = parts.tokenizer, other.tokenizer
    if mine.fingerprint != theirs.fingerprint:
        raise UserError(
            f"config.train.init_from = {source}: its tokenizer ({theirs.kind}, {theirs.size:,} "
            f"pieces) is not this run's ({mine.kind}, {mine.size:,} pieces); its parameters would "
            "mean other pieces"
        )
    if other.model != parts.model:
        raise UserError(
            f"config.train.init_from = {source}: its model has other settings "
            f"(there: {dict(other.config.model)}; here: {dict(parts.config.model)})"
        )
    checkpoints = Checkpoints(source / CHECKPOINTS, writable=False)
    step, _ = choose(checkpoints, "best")
    return checkpoints.restore_params(step, like), step


def _pretrained(state: TrainState, settings: ModelSettings) -> tuple[TrainState, str]:
    """The state with GPT-2's published weights in its decoder, where there are any."""
    if not settings.weights:
        words = "starts from random parameters, GPT-2's too: config.model.weights names none"
        return state, words
    folder, fresh = gpt2.find_weights(settings.weights), jax.device_get(state.params)
    params = gpt2.load_weights(folder, fresh, heads=settings.decoder_heads or 1)
    placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), params, state.params)
    return state._replace(params=placed), f"starts from GPT-2's weights in {folder}"


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


class StopSignals:
    """SIGINT and SIGTERM ask to stop after this step; a second one leaves at once."""

    asked = False

    def __enter__(self) -> "StopSignals":
        numbers: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread():
            numbers = ()  # Python hands signals to the main thread alone
        self._before = {s: signal.getsignal(s) for s in numbers}
        for number in self._before:
            signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(self, *error: object) -> None:
        self._restore()


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
