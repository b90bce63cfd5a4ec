"""What the server counts, for Prometheus. Each app has a registry of its own."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whetstone.types import Usage

_SECONDS = (0.005, 0.02, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The counters of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of = self.registry
        self.requests = Counter("whetstone_requests", "Requests that were answered", ["route", "status"], registry=of)
        self.seconds = Histogram(
            "whetstone_request_seconds", "Time to the end of an answer", ["route"], buckets=_SECONDS, registry=of
        )
        self.first_token = Histogram(
            "whetstone_first_token_seconds", "Time to a first token", ["model"], buckets=_SECONDS, registry=of
        )
        self.tokens_in = Counter("whetstone_prompt_tokens", "Tokens of prompts", ["model"], registry=of)
        self.tokens_out = Counter("whetstone_completion_tokens", "Tokens of replies", ["model"], registry=of)
        self.open_streams = Gauge("whetstone_open_streams", "Streams that models work on", registry=of)

    def count_tokens(self, model: str, usage: Usage) -> None:
        """Add what one request took."""
        self.tokens_in.labels(model).inc(usage.prompt_tokens)
        self.tokens_out.labels(model).inc(usage.completion_tokens)

    def text(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self.registry)


class CountRequests:
    """Counts every request with its route and status, whoever answers it."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 499  # the client left before there was an answer

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            path = getattr(scope.get("route"), "path", "")
            route = path if path in self._routes else "other"
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)
