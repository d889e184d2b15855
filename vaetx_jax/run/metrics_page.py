"""A page of a run's numbers, in the text format that Prometheus reads: `--metrics_port`.

A thread of the run serves it and reads the numbers from the run's own files when it is asked, so
that the training knows nothing of it. Nothing that goes wrong here stops a run.
"""

import contextlib
import errno
import http.server
import os
import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence

from absl import flags

from vaetx_jax.run.status import RunStatus, read_run
from vaetx_jax.runtime.console import notify
from vaetx_jax.runtime.store import Store

PORT_VARIABLE = "VAETX_METRICS_PORT"  # the port where --metrics_port is not given
METRICS_PATH, HEALTH_PATH = "/metrics", "/healthz"

# Name -> (what it says, the metric of `metrics.jsonl` that it is).
_GAUGES = {
    "vaetx_steps_per_second": ("Steps per second.", "perf/steps_per_second"),
    "vaetx_tokens_per_second": ("Real tokens per second.", "perf/tokens_per_second"),
    "vaetx_loss": ("The loss of the last logged steps, nats per sentence.", "train/loss"),
    "vaetx_kl": ("The KL of the last logged steps, nats per sentence.", "train/kl"),
    "vaetx_valid_ppl_elbo": ("Validation perplexity by the ELBO.", "valid/ppl_elbo"),
}


def define_flags() -> None:
    """The flags of a command that can serve its numbers."""
    given = os.environ.get(PORT_VARIABLE, "")
    flags.DEFINE_integer(
        "metrics_port",
        int(given) if given.isdecimal() else None,
        f"Serve the metrics for Prometheus on this port, at /metrics (or set {PORT_VARIABLE}).",
        lower_bound=0,
        upper_bound=65535,
    )
    flags.DEFINE_string(
        "metrics_host",
        "127.0.0.1",
        "The address to serve them on; 0.0.0.0 makes them visible to other machines.",
    )


def read_folders(folders: Sequence[pathlib.Path]) -> list[RunStatus]:
    """The status of runs in folders of this machine."""
    found = []
    for folder in folders:
        store = Store(str(folder.resolve()))
        found.append(read_run(store, "", store.list(), {}))
    return found


def page_of(runs: Sequence[RunStatus]) -> str:
    """The page: for each number its meaning, then a line for each run that has it."""
    rows: dict[str, list[tuple[RunStatus, float | None]]] = {
        "vaetx_step": [(run, run.step) for run in runs],
        "vaetx_seconds_since_save": [(run, run.seconds_since_save) for run in runs],
    }
    helps = {
        "vaetx_step": "Updates done, as last logged.",
        "vaetx_seconds_since_save": "Seconds since the newest checkpoint.",
    }
    for name, (meaning, metric) in _GAUGES.items():
        rows[name] = [(run, run.numbers.get(metric)) for run in runs]
        helps[name] = meaning
    lines = []
    for name, values in rows.items():
        lines += [f"# HELP {name} {helps[name]}", f"# TYPE {name} gauge"]
        for run, value in values:
            if value is not None:
                lines.append(f'{name}{{run="{_escape(run.name)}"}} {value:.10g}')
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def serving(
    port: int | None, host: str, read: Callable[[], Sequence[RunStatus]]
) -> Iterator[int | None]:
    """Serves the page while the block runs.

    Args:
      port: None: it is not served; 0: any that is free.
      read: gives the runs; called in a thread for each request.

    Yields:
      The port; None where it is not served.
    """
    server = None if port is None else _open(port, host, read)
    if server is None:
        yield None
        return
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _open(
    port: int, host: str, read: Callable[[], Sequence[RunStatus]]
) -> http.server.ThreadingHTTPServer | None:
    class Handler(_Handler):
        runs = staticmethod(read)

    try:
        return http.server.ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        why = "another program has it" if error.errno == errno.EADDRINUSE else error.strerror
        notify(
            f"warning: --metrics_port={port}: {host}:{port} cannot be used ({why}); the run goes "
            "on without it"
        )
        return None


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = 10  # seconds for a request that does not come
    runs: Callable[[], Sequence[RunStatus]]

    def do_GET(self) -> None:
        if self.path == HEALTH_PATH:
            self._answer(200, "ok\n")
        elif self.path == METRICS_PATH:
            try:
                self._answer(200, page_of(self.runs()))
            except Exception as error:  # a file is being replaced, say; the next request will do
                self._answer(503, f"{type(error).__name__}: {error}\n")
        else:
            self._answer(404, f"there are {METRICS_PATH} and {HEALTH_PATH}\n")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        with contextlib.suppress(OSError):  # who asked is gone
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: the run's own lines are the log."""


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
