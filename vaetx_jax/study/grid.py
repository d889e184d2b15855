"""A grid of runs: what is missing is trained, cell by cell; what is damaged is done again.

Cells are trained in processes of their own (`cell_run`). The study itself touches no device, so
that those have all of it.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from vaetx_jax.config.study import chosen
from vaetx_jax.runtime.console import duration
from vaetx_jax.runtime.signals import STOPPED
from vaetx_jax.study import cells as cells_lib
from vaetx_jax.study.cells import Cell, Condition
from vaetx_jax.training.trainer import StoppedError


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished cell with its figures, and its probe where it was probed."""

    cell: Cell
    folder: pathlib.Path
    figures: dict[str, Any]
    probe: dict[str, Any] | None
    facts: dict[str, Any]  # how it was trained


@dataclasses.dataclass(frozen=True)
class Grid:
    """What a grid came to: the finished cells in order, and why others are missing."""

    results: list[Result]
    missing: dict[str, str]  # label -> reason
    failed: int


class GridStudy:
    """One call of a study over its grid."""

    def __init__(self, config: ConfigDict, folder: pathlib.Path):
        self._config, self._home = config, folder / "cells"
        self._probed = "probe" in config.study.show
        self._all = cells_lib.cells_of(config)
        labels = [cell.label for cell in self._all]
        wanted = set(chosen(labels, config.study.only))
        self._wanted = [cell for cell in self._all if cell.label in wanted]
        self._failures: dict[str, str] = {}
        self._seconds: list[tuple[str, float]] = []  # (corpus, seconds) of the cells done now

    def run(self) -> Grid:
        """Does all that is missing and gives what there is then.

        Raises:
          StoppedError: a signal asked to stop; the same call goes on.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        queue = [cell for cell in self._wanted if self._prepared(cell)]
        done = len(self._wanted) - len(queue)
        if done:
            print(f"{done} of {len(self._wanted)} cells are finished already", flush=True)
        while queue:
            same = [cell for cell in queue if cell.program == queue[0].program]
            self._announce(queue)
            attempted = self._attempt(same)
            again = [cell for cell in same if attempted.get(cell.name) == "damaged"]
            queue = [cell for cell in queue if cell.name not in attempted or cell in again]
        return self._gathered()

    def _folder(self, cell: Cell) -> pathlib.Path:
        return self._home / cell.name

    def _condition(self, cell: Cell) -> tuple[Condition, str]:
        return cells_lib.condition(
            self._folder(cell),
            iw_samples=cell.config.evaluation.iw_samples,
            protocol=cell.config.probe.to_dict() if self._probes(cell) else None,
        )

    def _probes(self, cell: Cell) -> bool:
        return self._probed and bool(cell.latent_dim)

    def _prepared(self, cell: Cell) -> bool:
        """Whether there is anything to do; a damaged cell is put out of the way."""
        condition, why = self._condition(cell)
        if condition is Condition.DAMAGED:
            aside = cells_lib.set_aside(self._folder(cell))
            print(f"{cell.name} is damaged: {why}. It is now {aside.name} and is trained anew.")
        elif condition is Condition.STALE_METRICS:
            print(f"{cell.name} is judged again: {why}")
        return condition is not Condition.FINISHED

    def _announce(self, queue: Sequence[Cell]) -> None:
        number = len(self._wanted) - len(queue) + 1
        left = self._left(queue)
        words = f", about {duration(left)} left for all" if left is not None else ""
        print(f"\n[{number}/{len(self._wanted)}] {queue[0].label}{words}", flush=True)

    def _left(self, queue: Sequence[Cell]) -> float | None:
        """Seconds for the rest, from the cells done now: those of its corpus, else all."""
        if not self._seconds:
            return None

        def mean(times: list[float]) -> float:
            return sum(times) / len(times)

        every = mean([seconds for _, seconds in self._seconds])
        of = {c: mean([s for k, s in self._seconds if k == c]) for c, _ in self._seconds}
        return sum(of.get(cell.corpus, every) for cell in queue)

    def _attempt(self, same: Sequence[Cell]) -> dict[str, str]:
        """Starts a process for cells of one program; what became of each that it tried."""
        order = {
            "together": self._config.study.together,
            "cells": [self._order(cell) for cell in same],
        }
        by_name = {cell.name: cell for cell in same}
        attempted: dict[str, str] = {}

        def note(event: dict[str, Any]) -> None:
            cell = by_name[event["cell"]]
            if event["damaged"] and cell.label not in self._failures:
                aside = cells_lib.set_aside(self._folder(cell))
                print(f"{cell.name} is damaged: {event['error']}. It is now {aside.name}.")
                self._failures[cell.label] = "damaged twice"  # forgotten when it is done
                attempted[cell.name] = "damaged"
                return
            attempted[cell.name] = "failed" if event["error"] else "done"
            if event["error"]:
                self._fail(cell, event["error"])
            else:
                self._failures.pop(cell.label, None)
                print(f"{cell.label}: done in {duration(event['seconds'])}", flush=True)

        began = time.monotonic()
        status = _in_a_process(order, note)
        if status == STOPPED:
            raise StoppedError("the study was stopped; its cells are saved")
        done = sum(what == "done" for what in attempted.values())
        taken = time.monotonic() - began  # with starting, compiling and judging
        self._seconds += [(same[0].corpus, taken / max(len(attempted), 1))] * done
        if not attempted:
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            reason = f"its process ended with {how}"
            if status == -signal.SIGKILL:
                reason += ", perhaps for lack of memory"
            self._fail(same[0], reason)
            attempted[same[0].name] = "failed"
        return attempted

    def _order(self, cell: Cell) -> dict[str, Any]:
        condition, _ = self._condition(cell)
        return {
            "folder": str(self._folder(cell)),
            "config": cell.config.to_dict(),
            "trains": condition is not Condition.STALE_METRICS,
            "probes": self._probes(cell),
        }

    def _fail(self, cell: Cell, reason: str) -> None:
        self._failures[cell.label] = reason
        print(f"{cell.label} FAILED: {reason}; the rest goes on", file=sys.stderr, flush=True)

    def _gathered(self) -> Grid:
        results, missing = [], {}
        for cell in self._all:
            condition, why = self._condition(cell)
            if condition is Condition.FINISHED:
                results.append(_read(cell, self._folder(cell)))
            else:
                missing[cell.label] = self._failures.get(cell.label, f"not run ({why})")
        return Grid(results, missing, failed=len(self._failures))


def _read(cell: Cell, folder: pathlib.Path) -> Result:
    def read(name: str) -> Any:
        return json.loads((folder / name).read_text(encoding="utf-8"))

    probe = read(cells_lib.PROBE) if (folder / cells_lib.PROBE).exists() else None
    facts = read(cells_lib.SEAL)
    del facts["sha256"]
    return Result(cell, folder, read(cells_lib.EVALUATION), probe, facts)


def _in_a_process(order: dict[str, Any], note: Callable[[dict[str, Any]], None]) -> int:
    """Runs `cell_run` on an order, tells `note` of its events; gives its exit status.

    A signal that asks us to stop is handed on, so that the cell is saved, and the status is then
    `STOPPED` whatever the process was doing. It has a session of its own: a Ctrl-C in the terminal
    reaches it through us, and once.
    """
    asked = False

    def hand_on(number: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        process.send_signal(signal.SIGTERM)

    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "vaetx_jax.study.cell_process", str(writing)],
        stdin=subprocess.PIPE,
        pass_fds=[writing],
        start_new_session=True,
        text=True,
    )
    assert process.stdin
    os.close(writing)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, hand_on)
    try:
        with os.fdopen(reading, encoding="utf-8") as events:
            with contextlib.suppress(BrokenPipeError):  # its status will say that it has ended
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
            for line in events:
                note(json.loads(line))
        status = process.wait()
        return STOPPED if asked else status
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.terminate()
            process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def trained_in(results: Sequence[Result]) -> str:
    """Words for where and how long the cells were trained."""
    seconds = sum(result.facts.get("seconds", 0.0) for result in results)
    devices = sorted({f"{r.facts.get('devices')} {r.facts.get('device')}" for r in results})
    return f"{len(results)} cells, trained in {duration(seconds)} on {', '.join(devices)}"
