"""Answering with what models say: whole or as a stream, until the client goes away or the server stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from whetstone.models.base import drain
from whetstone.models.pool import ModelPool
from whetstone.server import wire
from whetstone.server.encoding import dumps
from whetstone.server.errors import SERVER, ApiError, as_api_error
from whetstone.server.limits import Gate, Limits
from whetstone.server.metrics import Metrics
from whetstone.server.reading import Reading, Source
from whetstone.tasks import CardShelf
from whetstone.types import Chunk, Usage

SILENCE = 5.0  # seconds without a token after which a stream says that it is alive
T = TypeVar("T")


class Engine:
    """The models of one app, and everything that is being read from them.

    Attributes:
        pool: the models.
        limits: how much is taken on.
        metrics: what is counted.
        cards: the task cards that are offered.
    """

    def __init__(self, pool: ModelPool, limits: Limits, metrics: Metrics, cards: CardShelf) -> None:
        self.pool = pool
        self.cards = cards
        self.limits = limits
        self.metrics = metrics
        self._gate = Gate(limits)
        self._open: set[Reading[Any]] = set()
        self._stopping = False

    def label(self, model: str) -> str:
        """The model's name in metrics; those that callers make up share one."""
        return model if model in self.pool.offered else "other"

    async def read(
        self, sources: Sequence[Source], makers: Sequence[Callable[[Chunk], T | None]], gone: asyncio.Future[None]
    ) -> Reading[T] | None:
        """Begin to read, once it is one's turn. None when the client went away meanwhile.

        Raises:
            ApiError: too many wait, or the server is stopping.
        """
        entering = asyncio.ensure_future(self._gate.enter())
        try:
            await asyncio.wait({entering, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not entering.done():
                entering.cancel()
        if not entering.done() or entering.cancelled():
            return None
        entering.result()
        if self._stopping:
            self._gate.leave()
            raise _stopping()
        self.metrics.open_streams.inc(len(sources))

        def ended() -> None:
            self._gate.leave()
            self.metrics.open_streams.dec(len(sources))
            self._open.discard(reading)

        reading = Reading(sources, makers, ended)
        self._open.add(reading)
        return reading

    async def work(self, request: Request, task: Callable[[], T]) -> T:
        """What a function returns that may take long. It runs on a thread of its own."""
        (found,) = await self.gather(request, lambda: iter([task()]))
        return found

    async def gather(self, request: Request, task: Callable[[], Iterator[T]]) -> list[T]:
        """Everything that an iterator gives, each of which may take long. It runs on a thread of its own.

        When the client goes away, no further one is asked for.
        """
        found: list[T] = []

        def each() -> Iterator[Chunk]:
            for one in task():
                found.append(one)
                yield Chunk()

        async with Attendance(request.receive) as gone:
            reading: Reading[None] | None = await self.read([each], [lambda _: None], gone.future)
            if reading is not None:
                gone.future.add_done_callback(reading.on_gone)
                await reading.take()
            if reading is None or gone.future.done():
                raise ClientGoneError
        return found

    def start(self) -> None:
        """Take requests, again if need be: an app can be started after it was stopped."""
        self._stopping = False

    def stop(self) -> None:
        """End every stream, each with an error that says why. Called in the event loop."""
        self._stopping = True
        for reading in list(self._open):
            reading.stop(_stopping())


class ClientGoneError(ApiError):
    """Nobody waits for the answer any more."""

    def __init__(self) -> None:
        super().__init__(499, "The client closed the connection")


def _stopping() -> ApiError:
    return ApiError(
        503, "The server is shutting down", kind=SERVER, code="shutting_down", headers={"Connection": "close"}
    )


class Attendance:
    """Watches whether the client is still there. `future` is done when it is not."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def __aenter__(self) -> Attendance:
        self.future: asyncio.Future[None] = asyncio.ensure_future(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.future.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True)
class Answering:
    """A request that models answer.

    Attributes:
        engine: the models.
        form: how the answer looks.
        model: the model's name, as it was asked for.
        sources: a stream for each answer.
        prompt_of: for each answer, the number of its prompt: tokens of a prompt are counted once.
        with_usage: whether a stream ends with token counts.
    """

    engine: Engine
    form: wire.Form
    model: str
    sources: Sequence[Source]
    prompt_of: Sequence[int]
    with_usage: bool

    async def whole(self, request: Request) -> Response:
        """The answers, once they are complete."""
        collected = [_Collector(self, started=time.perf_counter()) for _ in self.sources]
        async with Attendance(request.receive) as client:
            makers = [one.add for one in collected]
            reading: Reading[None] | None = await self.engine.read(self.sources, makers, client.future)
            if reading is None:
                raise ClientGoneError
            client.future.add_done_callback(reading.on_gone)
            try:
                await reading.take()
            finally:
                gone = client.future.done()
                reading.stop()
            if gone:
                raise ClientGoneError
        replies = [drain(iter(one.chunks)) for one in collected]
        usage = self.count([reply.usage for reply in replies])
        envelope = wire.Envelope(self.form.object, self.model, self.form.prefix())
        choices = [self.form.choice(index, reply) for index, reply in enumerate(replies)]
        body = {**envelope.fields, "choices": choices, "usage": wire.usage_json(usage)}
        return Response(dumps(body), media_type="application/json")

    def count(self, usages: Sequence[Usage]) -> Usage:
        """All counts together."""
        seen: set[int] = set()
        usage = Usage()
        for prompt, one in zip(self.prompt_of, usages, strict=True):
            usage += Usage(0, one.completion_tokens) if prompt in seen else one
            seen.add(prompt)
        self.engine.metrics.count_tokens(self.engine.label(self.model), usage)
        return usage


class _Collector:
    """Takes the chunks of one answer."""

    def __init__(self, answering: Answering, started: float) -> None:
        self.chunks: list[Chunk] = []
        self._started = started
        self._first = answering.engine.metrics.first_token.labels(answering.engine.label(answering.model))

    def add(self, chunk: Chunk) -> None:
        """Take a chunk."""
        if not self.chunks:
            self._first.observe(time.perf_counter() - self._started)
        self.chunks.append(chunk)


class _EventMaker:
    """Makes the events of one answer, in the thread that reads it."""

    def __init__(self, answering: Answering, events: wire.Events, started: float) -> None:
        self.events = events
        self.usage = Usage()
        self._started: float | None = started
        self._first = answering.engine.metrics.first_token.labels(answering.engine.label(answering.model))

    def __call__(self, chunk: Chunk) -> bytes | None:
        if self._started is not None:
            self._first.observe(time.perf_counter() - self._started)
            self._started = None
        if chunk.usage is not None:
            self.usage = chunk.usage
        return self.events(chunk)


class EventStream(Response):
    """Answers as server-sent events.

    The status waits for the first token, or for an error in its place, but no longer than `SILENCE`: errors before
    that are answered as such, later ones are an event.
    """

    media_type = "text/event-stream"

    def __init__(self, answering: Answering) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._answering = answering
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = self._answering
        envelope = wire.Envelope(
            answering.form.event_object, answering.model, answering.form.prefix(), answering.with_usage
        )
        started = time.perf_counter()
        makers = [
            _EventMaker(answering, answering.form.events(envelope, index), started)
            for index in range(len(answering.sources))
        ]
        async with Attendance(receive) as client:
            reading = await answering.engine.read(answering.sources, makers, client.future)
            if reading is None:
                return
            client.future.add_done_callback(reading.on_gone)
            try:
                while (events := await self._next(reading)) is not None:
                    if client.future.done():
                        return
                    await self._send(send, events)
                if client.future.done():
                    return
                await self._send(send, self._last(envelope, makers), more=False)
            except Exception as error:
                if not self._begun:
                    raise
                event = b"data: " + dumps(as_api_error(error).body) + b"\n\n"
                await self._send(send, event, more=False)
            finally:
                reading.stop()

    async def _next(self, reading: Reading[bytes]) -> bytes | None:
        events = await reading.take(SILENCE)
        return None if events is None else b"".join(events) or wire.PING

    async def _send(self, send: Send, body: bytes, more: bool = True) -> None:
        if not self._begun:
            self._begun = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body, "more_body": more})

    def _last(self, envelope: wire.Envelope, makers: Sequence[_EventMaker]) -> bytes:
        usage = self._answering.count([one.usage for one in makers])
        ends = b"".join(one.events.end() or b"" for one in makers)
        return ends + (envelope.usage_event(usage) if self._answering.with_usage else b"") + wire.DONE
