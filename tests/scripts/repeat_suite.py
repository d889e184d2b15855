"""Runs the tests several times, some of the rounds with all cores busy, and prints a table.

A test that fails now and then shows itself here, and one that relies on a quick machine:

    python -m tests.scripts.repeat_suite --rounds=5 --busy=2 -- tests/launch_test.py -k stop

What stands after `--` goes to pytest; nothing there runs the whole suite. Exits with 1 if a round
failed.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.helpers.paths import REPOSITORY

# Lasts no longer than this script: it ends when its standard input does.
BUSY = """
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
while True:
    pass
"""


class Round(NamedTuple):
    busy: bool
    passed: int
    failed: int  # errors included
    seconds: float
    status: int


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often (5)")
    parser.add_argument("--busy", type=int, default=2, help="how many of them on busy cores (2)")
    parser.add_argument("tests", nargs="*", help="after --: arguments of pytest")
    options = parser.parse_args(argv)
    if not 0 <= options.busy <= options.rounds:
        parser.error("--busy is more than --rounds, or less than 0")
    rounds = []
    for number in range(options.rounds):
        busy = number >= options.rounds - options.busy
        print(f"round {number + 1} of {options.rounds}{', cores busy' if busy else ''}", flush=True)
        with busy_cores() if busy else contextlib.nullcontext():
            rounds.append(run(options.tests, busy=busy))
    print(table(rounds))
    return int(any(one.status for one in rounds))


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """A process for each core that computes for nothing, until the end of the block."""
    command = [sys.executable, "-c", BUSY]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.communicate()


def run(tests: Sequence[str], *, busy: bool) -> Round:
    """One round; what failed is printed by pytest."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "--quiet", "--tb=short", *tests]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stdout, flush=True)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", last_line(done))}
    failed = counts.get("failed", 0) + counts.get("errors", 0) + counts.get("error", 0)
    seconds = time.monotonic() - began
    return Round(busy, counts.get("passed", 0), failed, seconds, done.returncode)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Pytest's own summary."""
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines else ""


def table(rounds: Sequence[Round]) -> str:
    """A line per round; a status beside 0 also where pytest itself could not run."""
    lines = ["round  cores  passed  failed  seconds  status"]
    lines += [
        f"{number:5}  {'busy' if one.busy else 'idle':5}  {one.passed:6}  {one.failed:6}"
        f"  {one.seconds:7.1f}  {one.status:6}"
        for number, one in enumerate(rounds, start=1)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
