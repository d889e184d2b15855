"""The scheduler of a grid: trains missing cells one by one, and damaged ones again.

Cells are trained in processes of their own (`cell_process`). The study itself uses no device, so
that they have all of it. Several hosts may share a grid: a cell is taken, examined and trained
under its lease (`sharing`).
"""

import contextlib
import os
import pathlib
import signal
import sys
import time
from collections.abc import Sequence

from ml_collections import ConfigDict

from vaetx_jax.config.study import select
from vaetx_jax.runtime.console import counted, duration
from vaetx_jax.runtime.signals import STOPPED
from vaetx_jax.study.cells import Cell, cells_of
from vaetx_jax.study.launcher import CellProcess
from vaetx_jax.study.messages import CellOrder, Event, Order, Outcome
from vaetx_jax.study.results import NOT_RUN, Grid, read_result
from vaetx_jax.study.seal import Condition, condition, set_aside
from vaetx_jax.study.sharing import SharedCells
from vaetx_jax.training.trainer import StoppedError


class Scheduler:
    """Trains the cells of a grid.

    Args:
      config: the study's settings.
      shared: the cells of the study's folder.
      wait: stay until the cells that other hosts hold are done, too.

    Raises:
      ConfigError: a cell's settings break a rule, or `study.only` fits no cell.
    """

    def __init__(self, config: ConfigDict, shared: SharedCells, *, wait: bool = False):
        self._shared, self._folder, self._wait = shared, shared.folder, wait
        self._together = config.study.together
        self._probe = "probe" in config.study.show
        self._cells = cells_of(config)
        selected = set(select([cell.label for cell in self._cells], config.study.only))
        self._selected = [cell for cell in self._cells if cell.label in selected]
        self._settled: set[str] = set()  # names of the cells that are done or have failed
        self._damaged: set[str] = set()  # names of those found damaged while they were trained
        self._failures: dict[str, str] = {}  # label -> reason
        self._seconds: list[tuple[str, float]] = []  # (corpus, seconds) of the cells done now

    def run(self) -> Grid:
        """Trains every cell that is missing and returns all results.

        Raises:
          StoppedError: a signal asked to stop; the same call resumes the study.
        """
        queue = [cell for cell in self._selected if not self._is_finished(cell)]
        self._errors = {cell.name: self._shared.error(cell.name) for cell in queue}
        if done := len(self._selected) - len(queue):
            print(f"{done} of {len(self._selected)} cells are finished already", flush=True)
        said = False
        while queue:
            with contextlib.ExitStack() as stack:
                cells = self._take(queue, stack)
                if cells:
                    self._announce(queue, cells[0])
                    self._attempt(cells)
            queue = [cell for cell in queue if cell.name not in self._settled]
            if cells or not queue:
                continue
            if not self._wait and all(self._shared.lives(cell.name) for cell in queue):
                break
            if not said:
                print(
                    f"other hosts hold the last {counted(len(queue), 'cell')}; checking that they "
                    "are alive",
                    flush=True,
                )
                said = True
            if self._shared.pause():
                raise StoppedError("the study was stopped while it waited for other hosts")
        return self._collect()

    def _take(self, queue: Sequence[Cell], stack: contextlib.ExitStack) -> list[Cell]:
        """Takes cells of one program, as many as are trained together, that no other host holds.

        Those that another host has finished meanwhile, or failed at, are settled.
        """
        most, taken = self._together or (len(queue) if _sees_accelerator() else 1), list[Cell]()
        for cell in queue:
            if len(taken) == most:
                break
            own = contextlib.ExitStack()
            fits = not taken or cell.program == taken[0].program
            if not (fits and self._shared.take(cell.name, own)):
                continue
            if self._is_left_to_do(cell):
                taken.append(cell)
                self._shared.begin(cell.name)
                stack.enter_context(own)
            else:
                own.close()
        return taken

    def _is_finished(self, cell: Cell) -> bool:
        state = self._condition(cell)[0]
        if state is not Condition.FINISHED and self._shared.look(cell.name):
            state = self._condition(cell)[0]
        return state is Condition.FINISHED

    def _is_left_to_do(self, cell: Cell) -> bool:
        """Whether a cell that was taken is to be worked on; renames a damaged cell's folder."""
        state, why = self._condition(cell)
        error = self._shared.error(cell.name)
        if state is Condition.FINISHED:
            self._settled.add(cell.name)
            print(f"{cell.label}: done by another host", flush=True)
            return False
        if error not in (b"", self._errors[cell.name]) and cell.name not in self._damaged:
            last = error.decode(errors="replace").strip().splitlines()[-1]
            self._fail(cell, f"on another host: {last}")
            return False
        if state is Condition.DAMAGED:
            print(f"{self._set_aside(cell, why)} and is trained again.")
        elif state is Condition.STALE_METRICS:
            print(f"{cell.name} is evaluated again: {why}")
        return True

    def _condition(self, cell: Cell) -> tuple[Condition, str]:
        return condition(
            self._folder / cell.name,
            iw_samples=cell.config.evaluation.iw_samples,
            protocol=cell.config.probe.to_dict() if self._is_probed(cell) else None,
            text=cell.config.evaluation.text,
            reference=bool(cell.config.evaluation.reference and cell.latent_dim),
            partial=self._shared.is_remote,
        )

    def _is_probed(self, cell: Cell) -> bool:
        return self._probe and bool(cell.latent_dim)

    def _set_aside(self, cell: Cell, why: str) -> str:
        renamed = set_aside(self._folder / cell.name)
        self._shared.clear(cell.name)
        return f"{cell.name} is damaged: {why}. It is now {renamed.name}"

    def _announce(self, queue: Sequence[Cell], cell: Cell) -> None:
        number = len(self._selected) - len(queue) + 1
        left = self._seconds_left(queue)
        note = f", about {duration(left)} left for all" if left is not None else ""
        print(f"\n[{number}/{len(self._selected)}] {cell.label}{note}", flush=True)

    def _seconds_left(self, queue: Sequence[Cell]) -> float | None:
        """An estimate from the cells done now: those of the same corpus, otherwise all."""
        if not self._seconds:
            return None

        def mean(times: list[float]) -> float:
            return sum(times) / len(times)

        overall = mean([seconds for _, seconds in self._seconds])
        by_corpus = {
            corpus: mean([seconds for other, seconds in self._seconds if other == corpus])
            for corpus, _ in self._seconds
        }
        return sum(by_corpus.get(cell.corpus, overall) for cell in queue)

    def _attempt(self, cells: Sequence[Cell]) -> None:
        """Starts a process for cells of one program, of which it settles one or more.

        A cell that it finds damaged for the first time stays in the queue.
        """
        by_name = {cell.name: cell for cell in cells}
        order = Order(tuple(map(self._order, cells)), self._together)
        began, events = time.monotonic(), []
        with CellProcess(order) as process:
            for event in process.events():
                self._handle(by_name[event.cell], event)
                events.append(event)
            status = process.wait()
        if status == STOPPED:
            raise StoppedError("the study was stopped; its cells are saved")
        if not events:
            self._fail(cells[0], _exit_reason(status))
        self._note_time(cells[0].corpus, time.monotonic() - began, events)

    def _order(self, cell: Cell) -> CellOrder:
        return CellOrder(
            folder=self._folder / cell.name,
            config=cell.config.to_dict(),
            train=self._condition(cell)[0] is not Condition.STALE_METRICS,
            probe=self._is_probed(cell),
        )

    def _handle(self, cell: Cell, event: Event) -> None:
        if event.outcome is Outcome.DONE:
            self._settled.add(cell.name)
            print(f"{cell.label}: done in {duration(event.seconds)}", flush=True)
        elif event.outcome is Outcome.DAMAGED and cell.name not in self._damaged:
            self._damaged.add(cell.name)
            print(f"{self._set_aside(cell, event.error)}.")
        else:
            self._fail(cell, event.error)

    def _fail(self, cell: Cell, reason: str) -> None:
        self._settled.add(cell.name)
        self._failures[cell.label] = reason
        print(f"{cell.label} FAILED: {reason}; the other cells go on", file=sys.stderr, flush=True)

    def _note_time(self, corpus: str, seconds: float, events: Sequence[Event]) -> None:
        """Notes the time of each cell done, including start, compilation and evaluation."""
        done = sum(event.outcome is Outcome.DONE for event in events)
        self._seconds += [(corpus, seconds / max(len(events), 1))] * done

    def _collect(self) -> Grid:
        results, missing, held = [], {}, {}
        selected = {cell.name for cell in self._selected}
        for cell in self._cells:
            if self._is_finished(cell):
                results.append(read_result(cell, self._folder / cell.name))
                continue
            why = self._condition(cell)[1]
            missing[cell.label] = self._failures.get(cell.label, f"{NOT_RUN} ({why})")
            if cell.name in selected - self._settled and (who := self._shared.holder(cell.name)):
                held[cell.label] = who.describe()
        return Grid(results, missing, failed=len(self._failures), held=held)


def _sees_accelerator() -> bool:
    """Whether the cells' processes will probably find one; only they may ask JAX.

    A wrong answer costs speed: cells wait for each other, or are trained one by one.
    """
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return False
    patterns = ("nvidia[0-9]*", "accel[0-9]*", "vfio/[0-9]*", "kfd")
    return any(any(pathlib.Path("/dev").glob(pattern)) for pattern in patterns)


def _exit_reason(status: int) -> str:
    """A description of the end of a process that sent no event."""
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    memory = ", perhaps for lack of memory" if status == -signal.SIGKILL else ""
    return f"its process ended with {how}{memory}"
