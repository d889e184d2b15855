"""The healthcheck of the image."""

import pytest

from vaetx_jax.run.metrics_page import serving
from vaetx_jax.runtime.health import is_healthy

MAIN = "python -m vaetx_jax.main --config=ptb"


def test_a_run_is_healthy_while_its_page_answers():
    with serving(0, "127.0.0.1", list) as port:
        assert is_healthy(MAIN, str(port))
        assert is_healthy(f"{MAIN} --metrics_port={port}", "1")
    assert not is_healthy(MAIN, str(port))


@pytest.mark.parametrize("command", ["python -m vaetx_jax.evaluate --workdir=a", "sleep 5"])
def test_a_command_without_a_page_is_healthy(command):
    assert is_healthy(command, "1")
