"""Standard input, output and error as a command needs them, however it was started.

A scheduler or a supervisor may start a program with one of them closed, which Python shows as None,
or in a language that has no emoji.
"""

import contextlib
import os
import sys

_NAMES = ("stdin", "stdout", "stderr")  # in the order of their file descriptors


def repair() -> None:
    """Opens what is closed on the null device, and prints a ? for what cannot be encoded.

    A closed one's file descriptor is taken, so that no file of ours gets it: libraries print there.
    """
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            _open_null(number, name)
    output = sys.stdout
    if not (getattr(output, "encoding", None) or "utf-8").lower().startswith("utf"):
        with contextlib.suppress(AttributeError):  # a stream that somebody put in its place
            output.reconfigure(errors="replace")  # type: ignore[union-attr]


def _open_null(number: int, name: str) -> None:
    reads = name == "stdin"
    descriptor = os.open(os.devnull, os.O_RDONLY if reads else os.O_WRONLY)
    if descriptor != number and not _is_open(number):
        os.dup2(descriptor, number)
        os.close(descriptor)
        descriptor = number
    opened = os.fdopen(descriptor, "r" if reads else "w", encoding="utf-8")
    setattr(sys, name, opened)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
