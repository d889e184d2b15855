"""Metric rows and TensorBoard events."""

import errno
import json
import math
import os
import pathlib

import pytest
from tensorboardX.proto import event_pb2

from vaetx_jax.run import metric_log
from vaetx_jax.run.metric_log import MetricWriter, cut_rows, read_metrics

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
    assert capsys.readouterr().err.count("its rows are kept in memory") == 1


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


def test_rows_are_json_lines(tmp_path: pathlib.Path):
    path = write_rows(tmp_path, [(1, {"a": 1.0}), (2, {"b": 2.0})])
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]
