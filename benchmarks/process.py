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


class Side:
    """A side of a comparison: a process that answers each line with one line."""

    def __init__(
        self,
        module: str,
        folder: pathlib.Path,
        name: str,
        environment: dict[str, str] | None = None,
    ):
        self.name = name
        self._errors = (folder / f"{name}.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )
        self.pid = self._process.pid

    def ask(self, line: str) -> str:
        """Its answer to a line.

        Raises:
          UserError: it has ended; the message ends with what it said.
        """
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        """Ends its input; what it answers then is to be read."""
        assert self._process.stdin
        self._process.stdin.close()

    def answer(self) -> str:
        """The next line that it says."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise UserError(f"{self.name} failed:\n{self._errors.read()[-2000:]}")
        return line.strip()


def peak_memory_mb() -> float:
    """Of this process, in MiB (`ru_maxrss` would begin with that of the parent)."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
