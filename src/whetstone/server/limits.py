"""How much one caller may ask of the server, and all of them together."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whetstone.server.errors import ApiError


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes on.

    Attributes:
        body_bytes: largest request body.
        concurrent: requests that models work on at once. Models have queues of their own (llama.cpp's slots), so this
            bounds threads and memory, not work.
        waiting: requests that may wait beyond those; the next is told to come again (429).
        choices: largest `n`, and most prompts times `n` of one completion request.
        inputs: most texts of one embeddings request.
        run_code: run code that models write, contained, for callers who ask for it.
    """

    body_bytes: int = 16 * 2**20
    concurrent: int = 64
    waiting: int = 128
    choices: int = 8
    inputs: int = 2048
    run_code: bool = False


class Gate:
    """Lets so many requests through at once, so many wait in their order, and sends the rest away.

    Belongs to one event loop.
    """

    def __init__(self, limits: Limits) -> None:
        self._free = limits.concurrent
        self._most_waiting = limits.waiting
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for one's turn. Whoever entered must `leave`.

        Raises:
            ApiError: 429, too many wait already.
        """
        if self._free > 0:
            self._free -= 1
            return
        if len(self._waiting) >= self._most_waiting:
            raise ApiError(
                429,
                "The server is busy and its queue is full; try again in some seconds",
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                headers={"Retry-After": "2"},
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came at the very moment that it gave up
                self.leave()
            else:
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Let the next one in."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class BodyLimit:
    """Refuses request bodies beyond a size, whether they tell their length or come in pieces."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told[:20]) > self._most:
            await self._too_large().response()(scope, receive, send)
            return
        read = 0

        async def counting() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                # FastAPI passes on this kind of exception, and takes any other for a body that is no JSON.
                raise HTTPException(413, self._too_large().message, {"Connection": "close"})
            return message

        await self._app(scope, counting, send)

    def _too_large(self) -> ApiError:
        size = f"{self._most // 2**20} MiB" if self._most >= 2**20 else f"{self._most} bytes"
        return ApiError(413, f"The request body is larger than {size}", headers={"Connection": "close"})
