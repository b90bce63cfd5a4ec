"""The API as a FastAPI application, put together from its parts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from whetstone.models.pool import ModelPool
from whetstone.server.auth import Guard
from whetstone.server.errors import AnswerFailures, install_handlers
from whetstone.server.limits import BodyLimit, Limits
from whetstone.server.metrics import CountRequests, Metrics
from whetstone.server.routes.chat import chat_routes
from whetstone.server.routes.completions import completion_routes
from whetstone.server.routes.embeddings import embedding_routes
from whetstone.server.routes.estimate import estimate_routes
from whetstone.server.routes.service import service_routes
from whetstone.server.routes.tasks import task_routes
from whetstone.server.routes.tokens import token_routes
from whetstone.server.streaming import Engine
from whetstone.tasks import CardShelf


def create_app(
    pool: ModelPool,
    *,
    token: str | None = None,
    limits: Limits = Limits(),  # noqa: B008
    allowed_origins: Sequence[str] = (),
    cards: CardShelf | None = None,
) -> FastAPI:
    """The API of the models in `pool`. Whatever is mounted into it later stands behind the same guard.

    Args:
        pool: the models. It is closed when the app shuts down.
        token: needed for every route. Without one, only callers on this machine are answered.
        limits: how much is taken on.
        allowed_origins: web pages that may call the API from a browser, such as "https://chat.example.org".
        cards: the task cards to offer; None for those that Whetstone brings.

    Raises:
        UsageError: the token is too short to protect anything, or an origin is none.
    """
    metrics = Metrics()
    engine = Engine(pool, limits, metrics, CardShelf() if cards is None else cards)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        try:
            yield
        finally:
            engine.stop()
            pool.close()

    app = FastAPI(
        title="Whetstone",
        summary="Chat with any model through the OpenAI API",
        docs_url=None,  # these pages run scripts from elsewhere, here with the workbench's cookie
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.engine = engine
    guard = Guard.configure(token, allowed_origins)
    app.state.guard = guard
    install_handlers(app)
    for routes in (
        chat_routes,
        completion_routes,
        embedding_routes,
        estimate_routes,
        task_routes,
        token_routes,
        service_routes,
    ):
        app.include_router(routes(engine))
    paths = frozenset(app.openapi()["paths"])
    # The last one is the outermost.
    app.add_middleware(AnswerFailures)
    app.add_middleware(BodyLimit, most=limits.body_bytes)
    app.add_middleware(guard.middleware)
    if allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(allowed_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
        )
    app.add_middleware(CountRequests, metrics=metrics, routes=paths)
    return app
