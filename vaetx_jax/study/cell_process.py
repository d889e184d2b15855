"""The process that trains and evaluates cells of a study; `launcher` starts it.

    python -m vaetx_jax.study.cell_process EVENTS

It reads one order (`messages.Order`) from standard input. EVENTS is a file descriptor; an event
(`messages.Event`) is written to it at the end of each cell. A process of its own frees all memory
when it ends, and its death is one failed cell and not the end of the study. At the end of standard
input the study is gone: the process saves and exits.
"""

import contextlib
import datetime
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from vaetx_jax.runtime import huge_pages

if __name__ == "__main__":
    huge_pages.restart()

# isort: split
import jax
from ml_collections import ConfigDict

from vaetx_jax import command_line
from vaetx_jax.config import defaults
from vaetx_jax.config.stored import cache_dir
from vaetx_jax.data.tokenizers.tokenizers import load_tokenizer
from vaetx_jax.errors import DamagedError, UserError
from vaetx_jax.final_report import write_final_report
from vaetx_jax.inference.loading import load
from vaetx_jax.probe.probing import run_probe
from vaetx_jax.run import workdir as workdir_lib
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.run.run import Run, create_run
from vaetx_jax.runtime import signals
from vaetx_jax.runtime.compilation_cache import use_compilation_cache
from vaetx_jax.study.messages import CellOrder, Event, Order, Outcome
from vaetx_jax.study.seal import seal, unseal
from vaetx_jax.training.replicas import Replicas
from vaetx_jax.training.trainer import StoppedError, Trainer
from vaetx_jax.version import __version__

# The process of a study that was killed may still be in the folder: it ends with the program that
# it is compiling, or the step, and then saves.
ORPHANED_SECONDS = 600.0


class CellRun:
    """The work on one cell.

    Args:
      order: the cell and what to do.
    """

    def __init__(self, order: CellOrder):
        self.order = order
        self.folder = order.folder
        self.name = order.folder.name
        self.config: ConfigDict = defaults.default_config(order.config["model"]["name"])
        self.config.update(order.config)

    def prepare(self) -> Run:
        """Opens the run in the cell's folder, or creates it.

        Raises:
          DamagedError: the folder's own files cannot be read, or are another run's: its name fixes
            the settings.
        """
        self._keep_config()
        tokenizer = self.folder / workdir_lib.TOKENIZER
        try:
            if tokenizer.is_dir():
                load_tokenizer(tokenizer)
        except UserError as error:
            raise DamagedError(str(error)) from error
        return create_run(self.config, self.folder)

    def _keep_config(self) -> None:
        """Writes the config, also of a trained cell: its name leaves out how it is evaluated."""
        try:
            workdir_lib.keep_config(self.folder, self.config)
        except UserError as error:
            raise DamagedError(str(error)) from error

    def finish(self) -> None:
        """Evaluates the trained run, probes it where that was ordered, and seals the folder."""
        before = unseal(self.folder)
        self._keep_config()
        model = load(self.folder)
        with (
            (self.folder / "report.txt").open("w", encoding="utf-8") as report,
            contextlib.redirect_stdout(report),
        ):
            write_final_report(model)
            if self.order.probe:
                run_probe(model, few_labels=False)
        (self.folder / workdir_lib.ERROR).unlink(missing_ok=True)
        facts = {
            **_training_time(self.folder),
            "device": jax.devices()[0].device_kind,
            "devices": jax.device_count(),
            "versions": {"vaetx_jax": __version__, "jax": jax.__version__},
            "date": datetime.date.today().isoformat(),
        }
        seal(self.folder, facts if self.order.train or not before else before)


def _training_time(folder: pathlib.Path) -> dict[str, Any]:
    """The `seconds` of a run's steps, and how many runs shared the latest of them (`together`).

    Seconds add up over all starts of the run, however they ended; steps that several runs shared
    count by this run's share. Validation and saving do not count.
    """
    seconds, before, together = 0.0, 0, 1
    for row in read_metrics(folder / METRICS):
        if rate := row.get("perf/steps_per_second"):
            together = row.get("perf/together", 1)
            seconds += (row["step"] - before) / rate / together
            before = row["step"]
    return {"seconds": seconds, "together": together}


def train_alone(run: CellRun) -> None:
    """Trains one cell, or resumes it."""
    trainer = Trainer(run.prepare())
    state, words = trainer.start_state()
    print(f"{run.name}: {trainer.settings.total_steps:,} steps, {words}", flush=True)
    if not trainer.ended(int(state.step)):
        trainer.run(state)


def train_together(runs: Sequence[CellRun]) -> dict[str, Exception]:
    """Trains cells in one program.

    Cells that were stopped at different steps, as a killed process can leave them, are trained one
    by one, and so are all where one is damaged.

    Returns:
      Name -> error of the cells that failed.
    """
    try:
        replicas = Replicas([run.prepare() for run in runs])
        if replicas.common_step() is not None:
            names = ", ".join(run.name for run in runs)
            print(f"{len(runs)} cells in one program: {names}", flush=True)
            return {runs[number].name: error for number, error in replicas.run().items()}
    except DamagedError as error:
        print(f"{error}; the cells are trained one by one", flush=True)
    failed: dict[str, Exception] = {}
    for run in runs:
        try:
            train_alone(run)
        except StoppedError:
            raise
        except Exception as error:
            failed[run.name] = error
    return failed


class EventWriter:
    """Sends events to the study.

    Args:
      file: its end of the pipe.
    """

    def __init__(self, file: TextIO):
        self._file = file

    def done(self, run: CellRun, seconds: float) -> None:
        self._send(Event(run.name, Outcome.DONE, seconds))

    def failed(self, run: CellRun, error: Exception) -> None:
        """Writes the traceback to the cell's folder and sends its last line."""
        if run.folder.is_dir():
            with contextlib.suppress(OSError):  # a full disk; the event is sent all the same
                text = "".join(traceback.format_exception(error))
                (run.folder / workdir_lib.ERROR).write_text(text, encoding="utf-8")
        line = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        outcome = Outcome.DAMAGED if isinstance(error, DamagedError) else Outcome.FAILED
        self._send(Event(run.name, outcome, error=line))

    def _send(self, event: Event) -> None:
        self._file.write(event.to_json() + "\n")
        self._file.flush()


def execute(order: Order, events: EventWriter) -> int:
    """Trains and evaluates the cells of an order together, or the first of them alone.

    Returns:
      The exit status: 0; 75 when a signal stopped it.
    """
    runs = _select(order)
    use_compilation_cache(cache_dir(runs[0].config))
    began = time.monotonic()
    failed: Mapping[str, Exception] = {}
    with contextlib.ExitStack() as stack:
        try:
            for run in runs:
                stack.enter_context(workdir_lib.claim(run.folder, wait=ORPHANED_SECONDS))
            failed = _train(runs)
        except StoppedError as stopped:
            print(f"{stopped}.", flush=True)
            return signals.STOPPED
        except Exception as error:  # whatever it is, the study goes on without these cells
            failed = {run.name: error for run in runs}
        seconds = (time.monotonic() - began) / len(runs)
        for run in runs:
            _finish(run, failed.get(run.name), seconds, events)
    return 0


def _select(order: Order) -> list[CellRun]:
    """The cells that this process works on."""
    runs = [CellRun(cell) for cell in order.cells]
    together = order.together or (1 if jax.default_backend() == "cpu" else len(runs))
    untrained = [run for run in runs if run.order.train]
    return untrained[:together] if together > 1 and len(untrained) > 1 else runs[:1]


def _train(runs: Sequence[CellRun]) -> Mapping[str, Exception]:
    """Trains the cells that are to be trained; gives name -> error of those that failed."""
    if len(runs) > 1:
        return train_together(runs)
    if runs[0].order.train:
        train_alone(runs[0])
    return {}


def _finish(run: CellRun, error: Exception | None, seconds: float, events: EventWriter) -> None:
    """Ends the attempt at a cell that took these seconds so far."""
    began = time.monotonic()
    if error is None:
        try:
            run.finish()
        except Exception as late:
            error = late
    if error is None:
        events.done(run, seconds + time.monotonic() - began)
    else:
        events.failed(run, error)


def _stop_when_alone() -> None:
    """Waits for the end of standard input, then asks this process to save and stop."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Reads the order and executes it."""
    command_line.quiet()
    order = Order.from_json(sys.stdin.readline())
    threading.Thread(target=_stop_when_alone, daemon=True).start()
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as file:
        return execute(order, EventWriter(file))


if __name__ == "__main__":
    sys.exit(main())
