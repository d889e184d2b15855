"""The explorer's server, for this machine alone: allowed requests and allowed resources."""

import errno
import socket
from typing import Any

import dash
import flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from vaetx_jax.errors import UserError
from vaetx_jax.explore.callbacks import connect
from vaetx_jax.explore.page import page, title
from vaetx_jax.explore.session import Session
from vaetx_jax.explore.style import index

ADDRESS = "127.0.0.1"
_NAMES = ("localhost", ADDRESS, "[::1]")
_LARGEST_REQUEST = 1_000_000  # bytes


def reserve(port: int) -> socket.socket:
    """Binds a socket to this machine's loopback address; nothing listens on it yet.

    Args:
      port: 0: any that is free.

    Raises:
      UserError: the port is taken, or may not be used.
    """
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((ADDRESS, port))
    except OSError as error:
        reserved.close()
        raise _refused(port, error) from None
    return reserved


def build_app(session: Session, metrics: list[dict[str, Any]], *, port: int) -> dash.Dash:
    """The page and its callbacks, for requests to this port."""
    app = dash.Dash(
        "vaetx_jax.explore",
        title=f"{title(session)} - vaetx_jax",
        update_title="",
        index_string=index(),
        serve_locally=True,
        include_assets_files=False,
        add_log_handler=False,
    )
    app.layout = lambda: page(session, metrics)
    connect(app, session)
    protect(app.server, port, app.csp_hashes())
    return app


def protect(server: flask.Flask, port: int, inline_scripts: Any) -> None:
    """Refuses requests that do not come from a page of this server, and loads from elsewhere.

    A foreign page can reach this machine's ports by a name of its own that points here (DNS
    rebinding): its requests bear that name as their host.

    Args:
      inline_scripts: the hashes of the page's own scripts, as a content security policy has them.
    """
    hosts = {f"{name}:{port}" for name in _NAMES} | (set(_NAMES) if port == 80 else set())
    origins = {f"http://{host}" for host in hosts}
    scripts = " ".join(["'self'", *inline_scripts])
    policy = (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    server.config["MAX_CONTENT_LENGTH"] = _LARGEST_REQUEST

    @server.before_request
    def refuse_strangers() -> Any:
        host = flask.request.headers.get("Host", "").lower()
        origin = flask.request.headers.get("Origin")
        if host not in hosts or (origin is not None and origin.lower() not in origins):
            return flask.Response("Only pages of this server may ask it.\n", 403)
        return None

    @server.after_request
    def restrict(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Logs nothing: a request needs no line."""


def listen(app: dash.Dash, reserved: socket.socket) -> BaseWSGIServer:
    """The server, which answers once `serve_forever` is called; it takes over the socket.

    Raises:
      UserError: another program took the port in the meantime.
    """
    port = reserved.getsockname()[1]
    try:
        reserved.listen()
    except OSError as error:
        raise _refused(port, error) from None
    server = make_server(
        ADDRESS, port, app.server, threaded=True, request_handler=_Quiet, fd=reserved.fileno()
    )
    reserved.close()  # the server has a copy
    return server


def _refused(port: int, error: OSError) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(f"--port={port}: another program uses it; give another, or 0 for any")
    return UserError(f"--port={port}: {error.strerror}; give another, or 0 for any")
