"""HTTP connections to one endpoint: at most so many at once, and each stream can be stopped at any instant.

A blocked read cannot be interrupted from another thread through the HTTP library, and while an endpoint works on a long
prompt there is nothing but a blocked read. So every stream has a connection to itself, and stopping it shuts that
connection's socket: the reader wakes, and the endpoint sees that nobody listens any more.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

PrepareRequest = Callable[[Any], None]
OpenClient = Callable[[PrepareRequest], Any]


class Cancellation:
    """Stops one stream from any thread, whatever it waits for."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.model_closed = False

    @property
    def requested(self) -> bool:
        """Whether the stream was told to stop."""
        return self._requested.is_set()

    def request(self) -> None:
        """Stop the stream. May be called from any thread, and more than once."""
        self._requested.set()
        with self._lock:
            _shut(self._socket)

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until the stream is told to stop; whether it was."""
        return self._requested.wait(seconds)

    def watch(self, used: socket.socket | None) -> None:
        """From now on the stream reads from this socket (None: from none)."""
        with self._lock:
            self._socket = used
            if self.requested:
                _shut(used)


def _shut(used: socket.socket | None) -> None:
    if used is not None:
        with contextlib.suppress(OSError):  # closed by the other side already
            # Not `used.shutdown`: a TLS socket's own method first forgets its TLS state, under the reader's feet.
            socket.socket.shutdown(used, socket.SHUT_RDWR)


class Connection:
    """An `openai` client with one socket."""

    def __init__(self, open_client: OpenClient) -> None:
        self._socket: socket.socket | None = None
        self._cancellation: Cancellation | None = None
        self.client = open_client(self._prepare)

    def lend(self, cancellation: Cancellation | None) -> None:
        """Let one stream use this connection, or none."""
        if self._cancellation is not None:
            self._cancellation.watch(None)
        self._cancellation = cancellation
        if cancellation is not None:
            cancellation.watch(self._socket)

    @contextlib.contextmanager
    def shut_after(self, seconds: float) -> Iterator[None]:
        """Shut the socket if the block takes longer."""
        timer = threading.Timer(seconds, _shut, [self._socket])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _prepare(self, request: Any) -> None:
        request.extensions["trace"] = self._note

    def _note(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._cancellation is not None:
                self._cancellation.watch(self._socket)


class ConnectionPool:
    """At most `size` connections, opened as they are needed."""

    def __init__(self, size: int, open_client: OpenClient) -> None:
        self._open_client = open_client
        self._changed = threading.Condition()
        self._idle: list[Connection] = []
        self._unopened = size
        self._lent: dict[Connection, Cancellation] = {}
        self._closed = False

    @contextlib.contextmanager
    def connection(self, cancellation: Cancellation) -> Iterator[Connection | None]:
        """A connection of one's own, waited for; None when the stream was told to stop meanwhile."""
        taken = self._take(cancellation)
        try:
            yield taken
        finally:
            if taken is not None:
                self._give_back(taken)

    def _take(self, cancellation: Cancellation) -> Connection | None:
        with self._changed:
            self._changed.wait_for(
                lambda: cancellation.requested or self._closed or self._idle or self._unopened > 0,
            )
            if self._closed:
                raise RuntimeError("the model was closed; load it again to use it")
            if cancellation.requested:
                return None
            # The last one used is the likeliest to be still connected.
            taken = self._idle.pop() if self._idle else None
            if taken is None:
                self._unopened -= 1
        if taken is None:
            try:
                taken = Connection(self._open_client)
            except BaseException:
                with self._changed:
                    self._unopened += 1
                    self._changed.notify()
                raise
        with self._changed:
            self._lent[taken] = cancellation
        taken.lend(cancellation)
        return taken

    def _give_back(self, connection: Connection) -> None:
        connection.lend(None)
        with self._changed:
            self._lent.pop(connection, None)
            if not self._closed:
                self._idle.append(connection)
                self._changed.notify()
                return
        connection.client.close()

    def cancel(self, cancellation: Cancellation) -> None:
        """Stop a stream, also one that still waits for its connection."""
        cancellation.request()
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop every stream and close every connection. Closing twice is harmless."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            lent = list(self._lent.values())
            self._changed.notify_all()
        for connection in idle:
            connection.client.close()
        for cancellation in lent:
            cancellation.model_closed = True
            cancellation.request()
