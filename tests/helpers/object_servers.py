"""Servers of object stores on this machine: `moto` for S3, an emulator for Google's storage."""

import contextlib
import socket
from collections.abc import Callable, Iterator

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
