"""Standard streams that are closed, or in a language without emoji."""

import os
import subprocess
import sys

import pytest

from tests.helpers.paths import REPOSITORY

SCRIPT = """
import os, sys
from vaetx_jax.runtime import streams
streams.repair()
assert sys.stdin.isatty() is False
print("\\N{ROCKET} fine")
print("told", file=sys.stderr)
sys.stdout.flush()
opened = os.open(os.devnull, os.O_RDONLY)
assert opened > 2, "a file of ours has a standard descriptor"
"""


def started(redirection: str = "", **environment: str) -> subprocess.CompletedProcess:
    command = f'exec "{sys.executable}" -c "$CODE" {redirection}'
    return subprocess.run(
        ["sh", "-c", command],
        env=os.environ | {"CODE": SCRIPT, "PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_the_null_device(closed):
    done = started(closed)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert ("fine" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))


def test_what_cannot_be_encoded_is_a_question_mark():
    done = started(PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "? fine\n")
