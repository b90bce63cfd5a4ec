"""A connection to one MCP server, kept by a thread of its own, for callers that wait.

The SDK is asynchronous and its sessions live in one task; tools are called from any thread. So a thread runs the
session from its start to its end, and others hand it what to do.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from whetstone.errors import MissingPackageError, ToolServerError, WhetstoneError
from whetstone.tools.mcp_address import ServerCommand, ServerUrl
from whetstone.tools.mcp_stdio import Said, stdio_transport

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client import IncomingMessage
    from mcp.client._transport import TransportStreams

_T = TypeVar("_T")
_CLOSE_SECONDS = 15.0  # more than the transports' own waits together
_SPARE_SECONDS = 5.0  # between the SDK's end of waiting and ours
_TOLD = 500  # characters of a server's own words


class Connection:
    """An open connection.

    Args:
        address: the server.
        start_seconds: how long it may take to start and to greet; package runners download first.
        seconds: how long an answer may take.

    Raises:
        MissingPackageError: the extra `tools` is not installed.
        ToolServerError: the server did not start, did not answer, or is no MCP server.
        UsageError: there is no such program.
    """

    def __init__(self, address: ServerCommand | ServerUrl, start_seconds: float, seconds: float) -> None:
        if find_spec("mcp") is None:
            raise MissingPackageError("mcp", "Talking to an MCP server", "pip install 'whetstone-llm[tools]'")
        import mcp  # noqa: F401  # takes a second or more, which the server is not to be blamed for

        self.tools_changed = threading.Event()
        self._address = address
        self._seconds = seconds
        self._said = Said()
        self._ready: concurrent.futures.Future[Client] = concurrent.futures.Future()
        self._loop = asyncio.new_event_loop()
        self._leave = asyncio.Event()
        # What the SDK logs is told by our errors, or concerns nobody.
        logging.getLogger("mcp").addHandler(logging.NullHandler())
        # A daemon: a program that ends without closing us is not kept; `_close_all` runs before such threads stop.
        self._thread = threading.Thread(target=self._run, name=f"mcp {address}", daemon=True)
        self._thread.start()
        _open.add(self)
        try:
            self._client = self._ready.result(start_seconds)
        except TimeoutError:
            late = f"the MCP server {address} {self._said} within {start_seconds:g} s"
            self.close()
            raise ToolServerError(late) from None
        except BaseException:
            self.close()
            raise

    @property
    def ended(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._said.ended or not self._thread.is_alive()

    @property
    def title(self) -> str:
        """What the server calls itself."""
        info = self._client.server_info
        return info.title or info.name if info else str(self._address)

    def ask(self, work: Callable[[Client], Awaitable[_T]], seconds: float | None = None) -> _T:
        """Have something done by the session, and wait for it; from any thread.

        Args:
            seconds: how long the answer may take, where that is not what the connection was opened with.

        Raises:
            ToolServerError: the server ended, broke off, took too long or refused, in one sentence.
        """
        limit = seconds or self._seconds
        if self.ended:
            raise self._fault()
        future = asyncio.run_coroutine_threadsafe(self._within(work, limit), self._loop)
        try:
            return future.result(limit + _SPARE_SECONDS)
        except TimeoutError:
            raise ToolServerError(f"the MCP server {self._address} did not answer within {limit:g} s") from None
        except concurrent.futures.CancelledError:
            raise self._fault() from None
        except WhetstoneError:
            raise
        except Exception as error:
            raise self._translated(_first(error)) from error
        finally:
            future.cancel()  # where we are interrupted; the server is told that nobody waits

    def close(self) -> None:
        """End the session, and the server's process where it is ours. Closing twice is harmless."""
        _open.discard(self)
        if not self._thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):  # the thread has just ended by itself
            self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(_CLOSE_SECONDS)

    async def _within(self, work: Callable[[Client], Awaitable[_T]], seconds: float) -> _T:
        async with asyncio.timeout(seconds):
            return await work(self._client)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._session())
            except Exception as error:
                if not self._ready.done():
                    self._ready.set_exception(self._translated(_first(error)))
            finally:
                self._said.ended = True

    async def _session(self) -> None:
        """The whole life of the session: this task enters it and leaves it."""
        leaving = asyncio.create_task(self._leave.wait())
        living = asyncio.create_task(self._live())
        # A server that does not greet must not keep us from leaving.
        await asyncio.wait({leaving, living}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not living.done():
            living.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await living

    async def _live(self) -> None:
        from mcp import Client
        from mcp.types import Implementation

        us = Implementation(name="whetstone", version=version("whetstone-llm"))
        client = Client(
            self._transport(),
            read_timeout_seconds=self._seconds,
            client_info=us,
            cache=None,
            message_handler=self._heard,
        )
        async with client:
            self._ready.set_result(client)
            await self._follow_changes(client)
            await asyncio.Event().wait()

    def _transport(self) -> AbstractAsyncContextManager[TransportStreams]:
        if isinstance(self._address, ServerCommand):
            return stdio_transport(self._address, self._said)
        from whetstone.tools.mcp_http import http_transport

        return http_transport(self._address, self._seconds, self._said)

    async def _heard(self, message: IncomingMessage) -> None:
        from mcp.types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self.tools_changed.set()

    async def _follow_changes(self, client: Client) -> None:
        """Servers of 2026 and later tell of changes only where they are asked to."""
        from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
        from mcp.shared.exceptions import MCPError

        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        with contextlib.suppress(ListenNotSupportedError, SubscriptionLost, MCPError, TimeoutError):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self.tools_changed.set()

    def _fault(self) -> ToolServerError:
        return ToolServerError(f"the MCP server {self._address} {self._said}")

    def _translated(self, error: BaseException) -> WhetstoneError:
        """Anything that the SDK raises, in one sentence."""
        from mcp.shared.exceptions import MCPError
        from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        if isinstance(error, WhetstoneError):
            return error
        if self._said.fault or self._said.ended:
            return self._fault()
        if isinstance(error, MCPError) and error.code not in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
            return ToolServerError(f"the MCP server {self._address} refused: {error.message[:_TOLD]}")
        if isinstance(error, MCPError):
            return self._fault()
        return ToolServerError(f"the MCP server {self._address}: {str(error)[:_TOLD] or type(error).__name__}")


def _first(error: BaseException) -> BaseException:
    """What was raised first, out of the groups that tasks raise together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


_open: weakref.WeakSet[Connection] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for connection in list(_open):
        connection.close()
