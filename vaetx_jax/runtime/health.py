"""`python -m vaetx_jax.runtime.health`: whether the container's command answers.

`main` and `study` serve a page (`--metrics_port`, VAETX_METRICS_PORT); a container that runs
another command is healthy as long as it runs.
"""

import os
import pathlib
import re
import sys
import urllib.request

_FIRST = pathlib.Path("/proc/1/cmdline")
_WITHIN = 5.0  # seconds


def is_healthy(command: str, port: str) -> bool:
    """Whether the command answers.

    Args:
      command: what the container runs, its words divided by spaces.
      port: of its page, where its flags do not give another.
    """
    given = re.search(r"--?metrics_port[= ](\d+)", command)
    port = given[1] if given else port
    if not port or not re.search(r"\bvaetx_jax[./](main|study)\b", command):
        return True
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=_WITHIN) as answer:
            return answer.status == 200
    except OSError:
        return False


def main() -> int:
    """Asks the first process of the container."""
    command = _FIRST.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return 0 if is_healthy(command, os.environ.get("VAETX_METRICS_PORT", "")) else 1


if __name__ == "__main__":
    sys.exit(main())
