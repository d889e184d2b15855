"""The metrics of a run: `metrics.jsonl` and TensorBoard events on disk, and trackers."""

import contextlib
import json
import math
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from vaetx_jax.run.trackers import Tracker, Trackers
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.console import notify

METRICS = "metrics.jsonl"


class MetricWriter:
    """Appends rows of named numbers to `metrics.jsonl` and to TensorBoard events.

    A full disk does not end a training: rows wait until they can be written. TensorBoard's events,
    which can be made from them, end there. A warning says so.

    Args:
      folder: the run's folder.
      step: updates done when the run starts or resumes; rows of later steps are removed.
      trackers: get the same rows; None: there are none.
    """

    def __init__(self, folder: pathlib.Path, *, step: int, trackers: Trackers | None = None):
        self._path = folder / METRICS
        cut_rows(self._path, after=step)
        # Without a buffer, so that rows that could not be written are known.
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115
        self._waiting = b""
        # None of these stops a run.
        self._writers: list[Tracker] = [
            _Events(folder / "tensorboard", step),
            *([trackers] if trackers else []),
        ]

    def write(self, step: int, numbers: dict[str, Any]) -> None:
        """Writes one row, in which None and numbers that are not finite are null."""
        row = {"step": step} | {name: finite_or_none(value) for name, value in numbers.items()}
        warned = bool(self._waiting)
        self._waiting += json.dumps(row).encode() + b"\n"
        try:
            self._write_waiting()
        except OSError as error:
            if not warned:
                why = f"cannot be written ({error.strerror}); its rows are kept in memory"
                notify(f"warning: {self._path}: {why}")
        del row["step"]
        for writer in self._writers:
            writer.write(step, row)

    def close(self) -> None:
        """Writes the rows that still wait, and closes the files.

        Raises:
          OSError: rows wait and still cannot be written.
        """
        try:
            self._write_waiting()
        finally:
            self._file.close()
            for writer in self._writers:
                writer.close()

    def _write_waiting(self) -> None:
        while self._waiting:
            self._waiting = self._waiting[self._file.write(self._waiting) :]


class _Events:
    """TensorBoard's file, written at once.

    tensorboardX's own writer has a thread for it: where that cannot write, the training would wait
    for it without end.
    """

    def __init__(self, folder: pathlib.Path, step: int):
        self._folder = folder
        self._file: Any = None
        with self._or_none():
            # Here, because tensorboardX imports torch where that is installed.
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog

            folder.mkdir(exist_ok=True)
            self._file = EventsWriter(str(folder / "events"))
            log = SessionLog(status=SessionLog.START)  # later steps are written again
            self._file.write_event(Event(wall_time=time.time(), step=step + 1, session_log=log))
            self._file.flush()

    def write(self, step: int, row: dict[str, Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        with self._or_none():
            for name, value in row.items():
                if self._file and isinstance(value, int | float):
                    summary = scalar(name, value)
                    self._file.write_event(Event(wall_time=time.time(), step=step, summary=summary))
            if self._file:
                self._file.flush()

    def close(self) -> None:
        with self._or_none():
            if self._file:
                self._file.close()

    @contextlib.contextmanager
    def _or_none(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._file = None
            why = f"cannot be written ({error.strerror}); there will be no more TensorBoard events"
            notify(f"warning: {self._folder}: {why}")


def finite_or_none(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`, up to the first that is none: a crash cuts a line short."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_bytes().split(b"\n"):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not isinstance(row, dict) or not isinstance(row.get("step"), int):
                break
            rows.append(row)
    return rows


def cut_rows(path: pathlib.Path, *, after: int) -> None:
    """Removes rows of later steps than `after` from a `metrics.jsonl`, in one rename."""
    rows = read_metrics(path)
    kept = [row for row in rows if row["step"] <= after]
    if path.exists():
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
