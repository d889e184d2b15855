"""Metric rows, events, whole files and the progress line."""

import contextlib
import errno
import io
import json
import math
import os
import pathlib

import pytest
from tensorboardX.proto import event_pb2

from vaetx_jax.run import metric_log
from vaetx_jax.run.metric_log import MetricWriter, cut_rows, read_metrics
from vaetx_jax.runtime import console
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.console import Progress, duration

# Metric rows ------------------------------------------------------------------------------------


def write_rows(folder, rows, *, step=0):
    metrics = MetricWriter(folder, step=step)
    for row in rows:
        metrics.write(*row)
    metrics.close()
    return folder / metric_log.METRICS


def events(folder):
    """(step, tag, value) of the scalars in a folder's event files, in order of the files."""
    found = []
    for path in sorted(folder.glob("tensorboard/events*"), key=os.path.getmtime):
        data, start = path.read_bytes(), 0
        while start < len(data):  # records: length, its check sum, the event, its check sum
            size = int.from_bytes(data[start : start + 8], "little")
            event = event_pb2.Event.FromString(data[start + 12 : start + 12 + size])
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            start += 16 + size
    return found


def test_a_row_holds_its_step_and_its_numbers(tmp_path):
    rows = [(5, {"train/loss": 1.25, "valid/au": 3}), (10, {"train/loss": 0.1})]
    assert read_metrics(write_rows(tmp_path, rows)) == [
        {"step": 5, "train/loss": 1.25, "valid/au": 3},
        {"step": 10, "train/loss": 0.1},
    ]


def test_what_is_no_number_is_null_in_the_row_and_the_rest_stays(tmp_path):
    row = {"a": math.nan, "b": math.inf, "c": None, "d": -0.5}
    path = write_rows(tmp_path, [(1, row)])
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    assert read_metrics(path) == [{"step": 1, "a": None, "b": None, "c": None, "d": -0.5}]


def test_events_hold_the_numbers_under_their_steps_and_leave_out_what_is_none(tmp_path):
    write_rows(tmp_path, [(5, {"loss": 1.25, "split": "valid", "kl": None}), (10, {"au": 3})])
    assert events(tmp_path) == [(5, "loss", 1.25), (10, "au", 3.0)]


def test_a_row_can_be_read_before_the_writer_is_closed(tmp_path):
    metrics = MetricWriter(tmp_path, step=0)
    metrics.write(1, {"loss": 2.0})
    seen = read_metrics(tmp_path / metric_log.METRICS)
    metrics.close()
    assert seen == [{"step": 1, "loss": 2.0}]


def test_going_on_cuts_the_rows_of_later_steps_and_keeps_the_others_to_the_letter(tmp_path):
    path = write_rows(tmp_path, [(s, {"loss": 1 / s, "null": None}) for s in (3, 6, 9, 12)])
    lines = path.read_text().splitlines()
    write_rows(tmp_path, [(9, {"loss": 0.5})], step=6)
    assert path.read_text().splitlines() == [*lines[:2], '{"step": 9, "loss": 0.5}']


def test_a_line_cut_short_by_a_crash_is_left_out_and_written_again(tmp_path):
    path = write_rows(tmp_path, [(3, {"loss": 1.0}), (6, {"loss": 0.5})])
    path.write_text(path.read_text()[:-9])
    assert read_metrics(path) == [{"step": 3, "loss": 1.0}]
    write_rows(tmp_path, [(6, {"loss": 0.5})], step=6)
    assert [row["step"] for row in read_metrics(path)] == [3, 6]


def test_rows_that_are_not_there_are_none(tmp_path):
    path = tmp_path / metric_log.METRICS
    assert read_metrics(path) == []
    cut_rows(path, after=3)
    assert not path.exists()


class Full:
    """A file on a full disk, that takes `room` bytes."""

    def __init__(self, path, room):
        self.path, self.room = path, room

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken, self.room = data[: self.room], self.room - len(data[: self.room])
        with self.path.open("ab") as file:
            return file.write(taken)

    def close(self):
        pass


def test_rows_wait_for_a_full_disk_and_are_written_once(tmp_path, capsys):
    metrics = MetricWriter(tmp_path, step=0)
    metrics._file.close()
    full = metrics._file = Full(tmp_path / metric_log.METRICS, 25)
    for step in range(1, 5):
        metrics.write(step, {"loss": 0.5})
        full.room += 100 * (step == 3)
    metrics.close()
    rows = read_metrics(tmp_path / metric_log.METRICS)
    assert rows == [{"step": step, "loss": 0.5} for step in range(1, 5)]
    assert capsys.readouterr().err.count("its rows wait, the training goes on") == 1


def test_rows_that_could_never_be_written_are_an_error_at_the_end(tmp_path):
    metrics = MetricWriter(tmp_path, step=0)
    metrics._file.close()
    metrics._file = Full(tmp_path / metric_log.METRICS, 10)
    metrics.write(1, {"loss": 0.5})
    with pytest.raises(OSError, match="No space left"):
        metrics.close()


def test_events_that_cannot_be_written_end_with_a_warning(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    path = write_rows(tmp_path, [(5, {"loss": 1.25}), (10, {"loss": 1.0})])
    assert len(read_metrics(path)) == 2
    assert capsys.readouterr().err.count("there will be no more TensorBoard events") == 1


# Whole files ------------------------------------------------------------------------------------


def test_a_file_is_written_and_written_over(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "one")
    write_text(path, "two — ü\n")
    assert path.read_text(encoding="utf-8") == "two — ü\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path, monkeypatch, error):
    path = tmp_path / "note.txt"
    write_text(path, "one")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)):
        write_text(path, "two")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_has_no_bytes_leaves_nothing_behind(tmp_path):
    path = tmp_path / "note.txt"
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half a character: \ud800")
    assert list(tmp_path.iterdir()) == []


# The progress line ------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told to go on."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(metric_log.time, "monotonic", lambda: Clock.now)
    return Clock


def test_without_a_terminal_a_line_is_a_line_and_a_tick_is_silent(clock):
    stream = io.StringIO()
    progress = Progress(1500, stream=stream)
    clock.now += 10
    progress.tick(10, "quiet")
    progress.line(500, "loss 3.1")
    progress.clear()
    assert stream.getvalue() == "    500/1,500  33.3%  loss 3.1  left 0:00:20\n"


def test_on_a_terminal_ticks_share_a_line_and_lines_stay(clock):
    stream = Terminal()
    progress = Progress(4, stream=stream)
    for done in (1, 2, 3, 4):
        clock.now += 0.1
        progress.tick(done, "tick")
    progress.line(4, "done")
    start, first, last, stays = stream.getvalue().split("\r\x1b[K")
    assert start == ""
    assert "1/4" in first and "4/4" in last  # four a second at most, and the last always
    assert stays.endswith("done  left 0:00:00\n")


def test_clear_takes_the_line_off_a_terminal():
    stream = Terminal()
    Progress(4, stream=stream).clear()
    assert stream.getvalue() == "\r\x1b[K"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_log_on_a_full_disk_does_not_end_the_work():
    with open("/dev/full", "w", buffering=1) as full:
        progress = Progress(10, stream=full)
        progress.line(5, "half")
        console.notify("warning: nobody hears it", full)
        progress.clear()
        with contextlib.suppress(OSError):
            full.close()


def test_the_time_left_of_a_resumed_job_is_judged_by_its_own_steps(clock):
    stream = io.StringIO()
    progress = Progress(100, done=60, stream=stream)
    progress.line(60, "first")
    clock.now += 30
    progress.line(70, "later")  # ten steps in half a minute, thirty to go
    first, later = stream.getvalue().splitlines()
    assert first.endswith("left ?")
    assert later.endswith("left 0:01:30")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0:00:00"),
        (59.6, "0:01:00"),
        (3599, "0:59:59"),
        (3600, "1:00:00"),
        (360_061, "100:01:01"),
    ],
)
def test_a_duration_is_hours_minutes_and_seconds(seconds, words):
    assert duration(seconds) == words


def test_rows_are_json_lines(tmp_path: pathlib.Path):
    path = write_rows(tmp_path, [(1, {"a": 1.0}), (2, {"b": 2.0})])
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]
