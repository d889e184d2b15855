"""A signal to this process at a chosen step of its training."""

import os
import signal

import pytest

from vaetx_jax.runtime.console import Progress


def interrupt_at(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Sends SIGINT to this process when the loop reports a step among `steps`, once each."""
    left = set(steps)

    def told(self: Progress, done: int, text: str = "") -> None:
        if done in left:
            left.remove(done)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "tick", told)
    monkeypatch.setattr(Progress, "line", told)
