"""The HTTP connection to an MCP server that runs already: its token, its limits, and its refusals in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2

from whetstone.tools.mcp_address import ServerUrl
from whetstone.tools.mcp_stdio import LONGEST_MESSAGE, Said

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

_CONNECT_SECONDS = 15.0
_REFUSED = {
    401: "wants a token: name the variable that holds it after the address, https://host/mcp#NAME",
    403: "refused us",
    404: "has no MCP server at this path, or has forgotten this session",
}


@asynccontextmanager
async def http_transport(address: ServerUrl, seconds: float, said: Said) -> AsyncIterator[TransportStreams]:
    """The transport that the SDK's client speaks through.

    Args:
        seconds: how long an answer may take.
        said: what is learnt of the server, for messages.
    """
    from mcp.client.streamable_http import streamable_http_client

    headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
    timeout = httpx2.Timeout(_CONNECT_SECONDS, read=seconds)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout, transport=_Bounded(said)) as client,
        streamable_http_client(address.url, http_client=client, max_sse_event_size=LONGEST_MESSAGE) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncHTTPTransport):
    """Reads no answer beyond the limit (one of events has a limit for each), and notes refusals."""

    def __init__(self, said: Said) -> None:
        super().__init__()
        self._said = said

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await super().handle_async_request(request)
        except httpx2.TransportError as error:
            self._said.fault = f"cannot be reached: {error or type(error).__name__}"
            raise
        if request.method == "POST":  # the SDK tries several ways to begin: the last answer counts
            self._said.fault = _REFUSED.get(response.status_code, "")
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Counted(response.stream, self._said)
        return response


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, said: Said) -> None:
        self._stream = stream
        self._said = said

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > LONGEST_MESSAGE:
                self._said.fault = f"sent a message of more than {LONGEST_MESSAGE >> 20} MB"
                raise httpx2.ReadError(self._said.fault)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
