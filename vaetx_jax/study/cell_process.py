"""The process in which the cells of a study are trained and judged; `grid_study` starts it.

    python -m vaetx_jax.study.cell_process EVENTS

It reads one order, a line of JSON, from standard input; EVENTS is the number of an open file on
which it tells of each cell that it has done with. A process of its own gives back all memory when
it ends, and its death is one failed cell and not the end of the study. When its standard input
ends, whoever started it is gone: it saves and leaves.
"""

import contextlib
import datetime
import json
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
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
from vaetx_jax.inference.text_model import load
from vaetx_jax.probe.probing import run_probe
from vaetx_jax.run import workdir as workdir_lib
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.run.run import Run, create_run
from vaetx_jax.runtime import signals
from vaetx_jax.runtime.compilation_cache import use_compilation_cache
from vaetx_jax.study import cells
from vaetx_jax.training.replicas import Replicas
from vaetx_jax.training.trainer import StoppedError, Trainer
from vaetx_jax.version import __version__

ERROR = "error.txt"


class CellRun:
    """One cell: its folder, its run and what is wanted of it."""

    def __init__(self, order: dict[str, Any]):
        self.folder = pathlib.Path(order["folder"])
        self.name = self.folder.name
        self.trains, self.probes = order["trains"], order["probes"]
        self.config: ConfigDict = defaults.default_config(order["config"]["model"]["name"])
        self.config.update(order["config"])

    def prepare(self) -> Run:
        """The run in its folder.

        Raises:
          DamagedError: the folder's own files cannot be read; its name says what they must hold.
        """
        self._keep_config()
        home = self.folder / workdir_lib.TOKENIZER
        try:
            if home.is_dir():
                load_tokenizer(home)
        except UserError as error:
            raise DamagedError(str(error)) from error
        return create_run(self.config, self.folder)

    def _keep_config(self) -> None:
        """Where it is only judged anew, too: by what, is not in the folder's name."""
        try:
            workdir_lib.keep_config(self.folder, self.config)
        except UserError as error:
            raise DamagedError(str(error)) from error

    def finish(self) -> None:
        """Judges the trained run, probes it where that is wanted, and seals the folder."""
        before = cells.unseal(self.folder)
        self._keep_config()
        model = load(self.folder)
        with (
            (self.folder / "report.txt").open("w", encoding="utf-8") as report,
            contextlib.redirect_stdout(report),
        ):
            write_final_report(model)
            if self.probes:
                run_probe(model, few_labels=False)
        (self.folder / ERROR).unlink(missing_ok=True)
        facts = {
            **_speed(self.folder),
            "device": jax.devices()[0].device_kind,
            "devices": jax.device_count(),
            "versions": {"vaetx_jax": __version__, "jax": jax.__version__},
            "date": datetime.date.today().isoformat(),
        }
        cells.seal(self.folder, facts if self.trains or not before else before)


def _speed(folder: pathlib.Path) -> dict[str, Any]:
    """How long a run's steps took, and how many runs last shared them.

    Over all its starts, however they ended; its share where it was not alone; without validating
    and saving.
    """
    seconds, before, together = 0.0, 0, 1
    for row in read_metrics(folder / METRICS):
        if rate := row.get("perf/steps_per_second"):
            together = row.get("perf/together", 1)
            seconds += (row["step"] - before) / rate / together
            before = row["step"]
    return {"seconds": seconds, "together": together}


def train_alone(cell: CellRun) -> None:
    """Trains one cell, or goes on there."""
    trainer = Trainer(cell.prepare())
    state, words = trainer.start_state()
    print(f"{cell.name}: {trainer.settings.total_steps:,} steps, {words}", flush=True)
    if int(state.step) < trainer.settings.total_steps:
        trainer.run(state)


def train_together(runs: Sequence[CellRun]) -> dict[str, Exception]:
    """Trains cells in one program; gives what became of those that failed.

    Cells that were stopped at different steps, as a killed process can leave them, go on alone, and
    so do all where one is damaged.
    """
    try:
        replicas = Replicas([run.prepare() for run in runs])
        if replicas.common_step() is not None:
            names = ", ".join(run.name for run in runs)
            print(f"{len(runs)} cells in one program: {names}", flush=True)
            return {runs[number].name: error for number, error in replicas.run().items()}
    except DamagedError as error:
        print(f"{error}; each cell goes on alone", flush=True)
    failed: dict[str, Exception] = {}
    for run in runs:
        try:
            train_alone(run)
        except StoppedError:
            raise
        except Exception as error:
            failed[run.name] = error
    return failed


class Events:
    """Where the study is told of each cell that is done with."""

    def __init__(self, file: TextIO):
        self._file = file

    def done(self, run: CellRun, seconds: float) -> None:
        self._tell(cell=run.name, seconds=seconds, error=None, damaged=False)

    def failed(self, run: CellRun, error: Exception) -> None:
        """Keeps the whole story in the cell's folder and tells of its last line."""
        text = "".join(traceback.format_exception(error))
        if run.folder.is_dir():
            with contextlib.suppress(OSError):  # a full disk; the study is told all the same
                (run.folder / ERROR).write_text(text, encoding="utf-8")
        told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        damaged = isinstance(error, DamagedError)
        self._tell(cell=run.name, seconds=0.0, error=told, damaged=damaged)

    def _tell(self, **event: Any) -> None:
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()


def carry_out(order: dict[str, Any], events: Events) -> int:
    """Does the cells of an order together, or the first of them alone; gives the exit status."""
    runs = [CellRun(cell) for cell in order["cells"]]
    use_compilation_cache(cache_dir(runs[0].config))
    together = order["together"] or (1 if jax.default_backend() == "cpu" else len(runs))
    trains = [run for run in runs if run.trains]
    group = trains[:together] if together > 1 and len(trains) > 1 else runs[:1]
    began = time.monotonic()
    failed: dict[str, Exception] = {}
    with contextlib.ExitStack() as stack:
        try:
            for run in group:
                # The process of a study that was killed may still be saving.
                stack.enter_context(workdir_lib.claim(run.folder, wait=60.0))
            if len(group) > 1:
                failed = train_together(group)
            elif group[0].trains:
                train_alone(group[0])
        except StoppedError as stopped:
            print(f"{stopped}.", flush=True)
            return signals.STOPPED
        except Exception as error:  # whatever it is, the study goes on without it
            failed |= {run.name: error for run in group}
        taken = (time.monotonic() - began) / len(group)
        for run in group:
            _finish(run, failed.get(run.name), taken, events)
    return 0


def _finish(run: CellRun, error: Exception | None, seconds: float, events: Events) -> None:
    if error is None:
        try:
            run.finish()
        except Exception as broken:
            error = broken
    if error is None:
        events.done(run, seconds)
    else:
        events.failed(run, error)


def _leave_when_alone() -> None:
    """Waits for the end of standard input, then asks this process to save and stop."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Reads the order and carries it out."""
    command_line.quiet()
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_when_alone, daemon=True).start()
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as file:
        return carry_out(order, Events(file))


if __name__ == "__main__":
    sys.exit(main())
