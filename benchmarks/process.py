"""What all benchmarks share: their start, processes of their own, the peak memory of one."""

import pathlib
import subprocess
import sys
from collections.abc import Callable

from absl import app

from vaetx_jax.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Runs a benchmark: leftover arguments are refused, the user's errors are one message."""

    def guarded(arguments: list[str]) -> None:
        if len(arguments) > 1:
            raise app.UsageError(f"unknown arguments: {' '.join(arguments[1:])}")
        main()

    try:
        app.run(guarded)
    except UserError as error:
        raise SystemExit(str(error)) from error


def last_line_of(module: str, *flags: str) -> str:
    """The last line that a module prints when run in a process of its own.

    Raises:
      UserError: it failed; the message ends with what it said.
    """
    command = [sys.executable, "-m", module, *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


def peak_memory_mb() -> float:
    """Of this process, in MiB (`ru_maxrss` would begin with that of the parent)."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
