"""A real HTTP server on loopback that speaks OpenAI's chat completions as well, or as badly, as a test plans it.

    with MisbehavingServer(status(429, headers={"Retry-After": "0"}), says("42")) as server:
        model = OpenAIModel(base_url=server.url, ...)

Each request takes the next behaviour of the plan; the last one stays for all that follow.
"""

from __future__ import annotations

import contextlib
import json
import math
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass
class Asked:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Exchange:
    """What a behaviour answers through. A client that has gone raises OSError."""

    def __init__(self, handler: BaseHTTPRequestHandler, asked: Asked, server: MisbehavingServer) -> None:
        self.handler = handler
        self.asked = asked
        self.server = server

    def answer(self, status: int, content: bytes, kind: str, headers: Mapping[str, str] = {}) -> None:
        """A whole answer with a length."""
        self.handler.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(content)

    def begin(self, kind: str = "text/event-stream") -> None:
        """The head of a streamed answer."""
        self.handler.send_response(200)
        self.handler.send_header("Content-Type", kind)
        self.handler.send_header("Transfer-Encoding", "chunked")
        self.handler.end_headers()

    def send(self, content: bytes) -> None:
        """One piece of a streamed answer."""
        self.handler.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.handler.wfile.flush()

    def event(self, data: object) -> None:
        """One server-sent event."""
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        self.send(f"data: {text}\n\n".encode("utf-8", "surrogatepass"))

    def delta(self, finish: str | None = None, logprobs: object = None, **delta: Any) -> None:
        """One chunk of a chat completion."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        self.event({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})

    def usage(self, **counts: Any) -> None:
        """The chunk with the token counts."""
        self.event({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": counts})

    def end(self) -> None:
        """The regular end of a streamed answer."""
        self.event("[DONE]")
        self.send(b"")

    def drop(self) -> None:
        """Break the connection off."""
        with contextlib.suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)
        self.handler.close_connection = True

    def wait_until_gone(self, seconds: float = 30) -> None:
        """Say nothing more until the client hangs up."""
        readable, _, _ = select.select([self.handler.connection], [], [], seconds)
        if readable and not self.handler.connection.recv(1, socket.MSG_PEEK):
            self.server.hung_up.set()
        self.handler.close_connection = True


Behaviour = Callable[[Exchange], None]
Step = dict[str, float]


class MisbehavingServer:
    """The server; `url` is its base_url.

    Attributes:
        asked: every chat request, in order of arrival.
        connections: how many connections were opened.
        most_at_once: most chat requests that were being answered at the same time.
        hung_up: set when a client left an unfinished answer.
        waiting: released each time a behaviour begins, so that a test can wait for it.
    """

    def __init__(self, *plan: Behaviour, models: Sequence[str] = (), port: int = 0) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.most_at_once = 0
        self.hung_up = threading.Event()
        self.waiting = threading.Semaphore(0)
        self.models = models
        self._plan = list(plan)
        self._now = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or every second answer waits 40 ms for an acknowledgement

            def setup(self) -> None:
                super().setup()
                with server._lock:
                    server.connections += 1

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                exchange = Exchange(self, Asked(self.path, {}, {}), server)
                if self.path != "/v1/models":
                    return page(404)(exchange)
                served = {"data": [{"id": name} for name in server.models]}
                exchange.answer(200, json.dumps(served).encode(), "application/json")

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                asked = Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(content))
                with server._begun(asked) as behaviour:
                    try:
                        behaviour(Exchange(self, asked, server))
                    except OSError:
                        server.hung_up.set()
                        self.close_connection = True

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    @contextlib.contextmanager
    def _begun(self, asked: Asked) -> Iterator[Behaviour]:
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            behaviour = self._plan.pop(0) if len(self._plan) > 1 else self._plan[0]
        self.waiting.release()
        try:
            yield behaviour
        finally:
            with self._lock:
                self._now -= 1

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()


def says(text: str, finish: str = "stop", prompt_tokens: int = 7, **usage: Any) -> Behaviour:
    """A good reply, in pieces of three characters."""

    def behave(exchange: Exchange) -> None:
        exchange.begin()
        for start in range(0, len(text), 3):
            exchange.delta(content=text[start : start + 3])
        exchange.delta(finish)
        exchange.usage(prompt_tokens=prompt_tokens, completion_tokens=len(text), **usage)
        exchange.end()

    return behave


def stepping(*steps: Step, finish: str = "stop", thinks: str = "") -> Behaviour:
    """A reply of the first token of each step (text -> probability), with the alternatives to it."""

    def behave(exchange: Exchange) -> None:
        exchange.begin()
        if thinks:
            exchange.delta(reasoning_content=thinks)
        for step in steps:
            listed = [{"token": text, "logprob": math.log(share), "bytes": None} for text, share in step.items()]
            exchange.delta(content=listed[0]["token"], logprobs={"content": [{**listed[0], "top_logprobs": listed}]})
        exchange.delta(finish)
        exchange.usage(prompt_tokens=21, completion_tokens=len(steps))
        exchange.end()

    return behave


def status(code: int, error: object = "no", headers: Mapping[str, str] = {}) -> Behaviour:
    """An error answer; `error` is what stands under "error" in its JSON."""
    content = json.dumps({"error": error}).encode()
    return lambda exchange: exchange.answer(code, content, "application/json", headers)


def page(code: int = 200, title: str = "Welcome") -> Behaviour:
    """A web page."""
    html = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>hello</body></html>".encode()
    return lambda exchange: exchange.answer(code, html, "text/html; charset=utf-8")


def half(text: str) -> Behaviour:
    """A reply that breaks off after this text."""

    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.delta(content=text)
        exchange.drop()

    return behave


def drops(exchange: Exchange) -> None:
    """No answer: the connection is broken off."""
    exchange.drop()


def silent(exchange: Exchange) -> None:
    """No answer at all, until the client goes."""
    exchange.wait_until_gone()


def silent_after(text: str) -> Behaviour:
    """A reply that stops, but does not end, after this text."""

    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.delta(content=text)
        exchange.wait_until_gone()

    return behave


@dataclass
class Meeting:
    """A good reply that is given only when `n` requests are being answered at once."""

    n: int
    barrier: threading.Barrier = field(init=False)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.n)

    def __call__(self, exchange: Exchange) -> None:
        self.barrier.wait(timeout=30)
        says("met")(exchange)
