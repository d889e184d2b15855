"""Servers of object stores on this machine: `moto` for S3, an emulator for Google's storage."""

import contextlib
import logging
import pathlib
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

BUCKET = "bucket"

# Scheme -> the packages that its tests need.
SERVERS = {"s3": ("moto", "flask", "s3fs"), "gs": ("gcp_storage_emulator", "gcsfs")}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def address_variables(scheme: str, port: int) -> dict[str, str]:
    """The environment in which the scheme's library talks to a server of this machine."""
    address = f"http://127.0.0.1:{port}"
    if scheme == "s3":
        keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
        return {**keys, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": address}
    # The emulator does not know the requests by which gcsfs asks for the kind of a bucket.
    plain = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    return {**plain, "STORAGE_EMULATOR_HOST": address, "FSSPEC_GS_TOKEN": "anon"}


@contextlib.contextmanager
def serve(scheme: str, setenv: Callable[[str, str], None]) -> Iterator[str]:
    """Runs a server with one empty bucket while the block runs; gives the bucket's URL.

    Args:
      setenv: sets a variable of the environment, for the libraries that talk to it.
    """
    port = free_port()
    for name, value in address_variables(scheme, port).items():
        setenv(name, value)
    import fsspec

    if scheme == "s3":
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        server.start()
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir(BUCKET)
    else:
        from gcp_storage_emulator.server import create_server

        server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
        server.start()
    fsspec.config.set_conf_env(fsspec.config.conf)  # read at its import, and not since
    try:
        yield f"{scheme}://{BUCKET}"
    finally:
        server.stop()


class Faulty:
    """A WSGI application that fails as long as a file says so: `503`, or `hang`."""

    def __init__(self, app: Callable[..., Iterable[bytes]], fault: pathlib.Path):
        self._app, self._fault = app, fault

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        while (kind := self._kind()) == "hang":
            time.sleep(0.1)
        if kind == "503":
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"SlowDown"]
        return self._app(environ, start_response)

    def _kind(self) -> str:
        try:
            return self._fault.read_text().strip()
        except OSError:
            return ""


def main() -> None:
    """`python -m tests.helpers.object_servers PORT FAULT_FILE`: an S3 server that can fail."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Faulty(DomainDispatcherApplication(create_backend_app), pathlib.Path(sys.argv[2]))
    make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
