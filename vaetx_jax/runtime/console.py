"""Standard error: warnings, progress with time left, durations."""

import contextlib
import io
import math
import os
import sys
import time
from typing import TextIO

from vaetx_jax.runtime import processes


def notify(words: str, stream: TextIO | None = None, *, end: str = "\n") -> None:
    """Prints to standard error; the work goes on if that fails.

    The log may lie on the very disk that is full, or its reader may be gone.
    """
    file = stream or sys.stderr
    if file is not None:
        with contextlib.suppress(OSError):
            print(words, end=end, file=file, flush=True)


class Progress:
    """A line with the share done of a long job, its metrics and the time left.

    On a terminal the line is rewritten in place; elsewhere every `line` is a line of its own.
    """

    def __init__(self, total: int, *, done: int = 0, stream: TextIO | None = None):
        # Of several processes the first alone prints; the others would print the same.
        self._silent = stream is None and not processes.is_first()
        self._stream = stream or sys.stderr or io.StringIO()  # standard error may be closed
        dumb = os.environ.get("TERM") == "dumb"  # it would print the escape codes
        self._terminal = self._stream.isatty() and not dumb and not self._silent
        self._total = total
        self._first = done
        self._began = time.monotonic()
        self._last = -math.inf

    def line(self, done: int, text: str) -> None:
        """Prints a line that stays: how many of the total are done, and `text`."""
        if self._silent:
            return
        notify(("\r\x1b[K" if self._terminal else "") + self._words(done, text), self._stream)

    def tick(self, done: int, text: str = "") -> None:
        """Rewrites a terminal's line, at most four times per second; elsewhere does nothing."""
        now = time.monotonic()
        if self._terminal and (now - self._last > 0.25 or done == self._total):
            self._last = now
            notify("\r\x1b[K" + self._words(done, text), self._stream, end="")

    def clear(self) -> None:
        """Removes the line from a terminal."""
        if self._terminal:
            notify("\r\x1b[K", self._stream, end="")

    def _words(self, done: int, text: str) -> str:
        share = done / max(self._total, 1)
        return f"{done:>7,}/{self._total:,} {share:6.1%}  {text}  left {self._left(done)}"

    def _left(self, done: int) -> str:
        taken = time.monotonic() - self._began
        if done <= self._first:
            return "?"
        return duration((self._total - done) * taken / (done - self._first))


def counted(number: int, noun: str) -> str:
    """A number and a noun whose plural ends in s: '1 cell', '1,000 cells'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Formats seconds as H:MM:SS."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
