"""The MCP server over streamable HTTP, behind the same guard as the API: whoever knows the token comes in."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from mcp.server.mcpserver import MCPServer

from whetstone.server.auth import Guard
from whetstone.server.errors import AnswerFailures
from whetstone.server.run import Server, bind, url_of
from whetstone.workflows.offered import Offered

HOST = "127.0.0.1"
PATH = "/mcp"


@dataclass(frozen=True, slots=True)
class _Engine:
    """What the server of the API stops and closes; here, calls end with their connections."""

    pool: Any

    def stop(self) -> None:
        """Nothing streams outside of a call."""


def serve_mcp(server: MCPServer[Any], offered: Offered, port: int, token: str, ready: Callable[[str], None]) -> None:
    """Serve on this machine until Ctrl-C or SIGTERM.

    Args:
        port: 0 chooses a free one.
        token: that every request must bring.
        ready: told the address, such as "http://127.0.0.1:8001/mcp", as soon as requests are answered.

    Raises:
        UsageError: the port is taken, or the token is too short to protect anything.
    """
    app = create_mcp_app(server, offered, token)
    listener = bind(app, HOST, port)
    try:
        Server(app, listener, url_of(HOST, listener), lambda url: ready(url + PATH)).run()
    finally:
        listener.close()


def create_mcp_app(server: MCPServer[Any], offered: Offered, token: str) -> FastAPI:
    """The server as an application with one path.

    Raises:
        UsageError: the token is too short to protect anything.
    """
    served = server.streamable_http_app(streamable_http_path=PATH, host=HOST)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    app = FastAPI(title="Whetstone by MCP", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.guard = Guard.configure(token, ())
    app.state.engine = _Engine(offered.pool)
    app.mount("/", served)
    app.add_middleware(AnswerFailures)
    app.add_middleware(app.state.guard.middleware)
    return app
