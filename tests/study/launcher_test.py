"""The process of a study's cells, seen from the study."""

import pathlib
import signal
import subprocess
import sys

import pytest

from vaetx_jax.study import launcher
from vaetx_jax.study.launcher import CellProcess
from vaetx_jax.study.messages import CellOrder, Event, Order, Outcome


def order_of(*names):
    return Order(tuple(CellOrder(pathlib.Path(name), {}, True, False) for name in names), 1)


def run_instead(monkeypatch, script):
    """Has `CellProcess` start this script, with the file descriptor of the events."""
    start = subprocess.Popen

    def popen(command, **options):
        return start([sys.executable, "-c", script, command[-1]], **options)

    monkeypatch.setattr(launcher.subprocess, "Popen", popen)


# Reports every cell of its order as done.
ECHO = """
import json, os, sys
order = json.loads(sys.stdin.readline())
with os.fdopen(int(sys.argv[1]), "w") as events:
    for cell in order["cells"]:
        event = {"cell": cell["folder"], "outcome": "done", "seconds": 2.0, "error": ""}
        print(json.dumps(event), file=events, flush=True)
"""


def run(order):
    """The events and the exit status of a process."""
    with CellProcess(order) as process:
        return list(process.events()), process.wait()


def test_a_process_reads_its_order_and_sends_an_event_per_cell(monkeypatch):
    run_instead(monkeypatch, ECHO + "sys.exit(3)")
    events, status = run(order_of("a", "b"))
    assert events == [Event("a", Outcome.DONE, 2.0), Event("b", Outcome.DONE, 2.0)]
    assert status == 3


@pytest.mark.parametrize("asked", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("ends", ["signal.pause()", "sys.exit(0)"])
def test_a_signal_stops_the_study_whatever_the_process_does(monkeypatch, asked, ends):
    """While it trains it saves and exits; while it evaluates, the signal ends it or it is done."""
    before = signal.getsignal(signal.SIGINT)
    ask = f"import signal; os.kill(os.getppid(), signal.{asked}); {ends}"
    run_instead(monkeypatch, ECHO + ask)
    assert run(order_of("a"))[1] == 75
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_that_ends_at_once_is_no_broken_pipe(monkeypatch):
    run_instead(monkeypatch, "raise SystemExit(4)")
    assert run(order_of("x" * 100_000)) == ([], 4)


def test_an_error_in_the_block_ends_the_process(monkeypatch):
    run_instead(monkeypatch, ECHO + "import signal; signal.pause()")
    with pytest.raises(ZeroDivisionError), CellProcess(order_of("a")) as process:
        next(process.events())
        raise ZeroDivisionError
    assert process.wait() == -signal.SIGTERM
