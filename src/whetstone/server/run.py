"""Running the app: its address, its port, and an end that takes no longer than it must."""

from __future__ import annotations

import errno
import ipaddress
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from whetstone.errors import UsageError
from whetstone.server.auth import is_loopback

DEFAULT_PORT = 8000
GRACE = 2  # seconds that open connections have to end once their streams were stopped


def serve(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve an app that `create_app` made, until Ctrl-C or SIGTERM. Returns after its models are closed.

    Args:
        app: the app.
        host: name or address to listen at.
        port: 0 chooses a free one.
        ready: told the address, such as "http://127.0.0.1:8000", as soon as requests are answered.

    Raises:
        UsageError: one cannot listen there, or should not without a token. Nothing was loaded.
    """
    listener = bind(app, host, port)
    try:
        Server(app, listener, url_of(host, listener), ready).run()
    finally:
        listener.close()
        app.state.engine.pool.close()  # also after an end that did not wait


def bind(app: FastAPI, host: str, port: int) -> socket.socket:
    """A socket that listens at `host`, for `Server`.

    Raises:
        UsageError: as for `serve`.
    """
    guard = app.state.guard
    if not 0 <= port <= 65535:
        raise UsageError(f"{port} is no port: choose one from 1 to 65535, or 0 for a free one")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError):
        raise UsageError(f"The host {host!r} cannot be found; use 127.0.0.1 for this machine alone") from None
    if guard.open:
        if not is_loopback(str(address[0])):
            raise UsageError(
                f"{host} can be reached from other machines, and there is no token; set one, or listen at 127.0.0.1"
            )
        guard.hosts.add(host.lower())
    listener = socket.socket(family)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UsageError(_why(error, host, port)) from None
    return listener


def url_of(host: str, listener: socket.socket) -> str:
    """The address to give to a browser on this machine."""
    address, port = listener.getsockname()[:2]
    shown = host
    if ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        shown = "::1" if ":" in address else "127.0.0.1"
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} at {host} is taken by another program; choose another port, or 0 for a free one"
    if error.errno == errno.EACCES:
        return f"Port {port} needs more rights than this program has; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine; use 127.0.0.1"
    return f"Cannot listen at {host}, port {port}: {error.strerror}"


class Server(uvicorn.Server):
    """Serves at a socket that listens already. It writes nothing.

    Args:
        app: made by `create_app`.
        listener: made by `bind`.
        url: told to `ready`.
        ready: called once requests are answered.
    """

    def __init__(
        self, app: FastAPI, listener: socket.socket, url: str, ready: Callable[[str], None] | None = None
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        super().__init__(config)
        self._listener = listener
        self._engine = app.state.engine
        self._url = url
        self._ready = ready

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `handle_exit`."""
        super().run(sockets or [self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready(self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the streams first: what waits for them can then end by itself."""
        self._engine.stop()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; the second time without waiting.

        Unlike uvicorn's own, it does not send the signal to this process again afterwards: being told to stop is no
        failure, and the exit code is the caller's to choose.
        """
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
