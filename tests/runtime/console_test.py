"""Standard error: the progress line and durations."""

import contextlib
import io
import os

import pytest

from vaetx_jax.runtime import console
from vaetx_jax.runtime.console import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(console.time, "monotonic", lambda: Clock.now)
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


def test_a_dumb_terminal_gets_lines_without_escape_codes(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    progress = Progress(4, stream=stream)
    progress.tick(1, "tick")
    progress.line(2, "half")
    progress.clear()
    assert stream.getvalue() == "      2/4  50.0%  half  left 0:00:00\n"


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


def test_the_time_left_of_a_resumed_job_follows_from_its_own_steps(clock):
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
