"""Where a run's numbers go: `metrics.jsonl`, TensorBoard events and the progress line."""

import json
import math
import os
import pathlib
import sys
import time
from typing import Any, TextIO

from tensorboardX import SummaryWriter

METRICS = "metrics.jsonl"


class MetricWriter:
    """Appends rows of named numbers to `metrics.jsonl` and to TensorBoard events.

    Args:
      folder: the run's folder.
      step: updates done when the run goes on; rows past it are cut, they will be written again.
    """

    def __init__(self, folder: pathlib.Path, *, step: int):
        path = folder / METRICS
        cut_rows(path, after=step)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115  # open as long as we are
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, numbers: dict[str, Any]) -> None:
        """One row; what is None or not finite is null in the row and left out of the events."""
        row = {"step": step} | {name: finite_or_none(value) for name, value in numbers.items()}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes out what is still held."""
        self._file.close()
        self._events.close()


def finite_or_none(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; a last line cut short by a crash is left out."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows


def cut_rows(path: pathlib.Path, *, after: int) -> None:
    """Removes rows of later steps than `after` from a `metrics.jsonl`, in one rename."""
    rows = read_metrics(path)
    kept = [row for row in rows if row["step"] <= after]
    if path.exists():
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C, too, leaves nothing behind
        temporary.unlink(missing_ok=True)
        raise


class Progress:
    """One line that says how far a long job is, what it measures, and how long it will take.

    On a terminal the line is rewritten in place; elsewhere every `line` is a line of its own.
    """

    def __init__(self, total: int, *, done: int = 0, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._total = total
        self._first = done
        self._began = time.monotonic()
        self._last = -math.inf

    def line(self, done: int, text: str) -> None:
        """Says that `done` of the total are done, and `text`; this line stays."""
        self._stream.write(("\r\x1b[K" if self._terminal else "") + self._words(done, text) + "\n")
        self._stream.flush()

    def tick(self, done: int, text: str = "") -> None:
        """The same on a terminal, in place and at most four times a second."""
        now = time.monotonic()
        if self._terminal and (now - self._last > 0.25 or done == self._total):
            self._last = now
            self._stream.write("\r\x1b[K" + self._words(done, text))
            self._stream.flush()

    def clear(self) -> None:
        """Takes the line off a terminal."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _words(self, done: int, text: str) -> str:
        share = done / max(self._total, 1)
        return f"{done:>7,}/{self._total:,} {share:6.1%}  {text}  left {self._left(done)}"

    def _left(self, done: int) -> str:
        taken = time.monotonic() - self._began
        if done <= self._first:
            return "?"
        return duration((self._total - done) * taken / (done - self._first))


def duration(seconds: float) -> str:
    """Seconds as H:MM:SS."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
