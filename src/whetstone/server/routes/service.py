"""/v1/models, /health and /metrics"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from whetstone.embeddings import EMBEDDERS
from whetstone.server import replies
from whetstone.server.documented import ERRORS
from whetstone.server.streaming import Engine


def service_routes(engine: Engine) -> APIRouter:
    """What is offered, and how the server is."""
    router = APIRouter(tags=["service"], responses=ERRORS)
    started = int(time.time())

    def card(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": started, "owned_by": "whetstone"}

    @router.get("/v1/models", response_model=replies.ModelList)
    async def list_models() -> dict[str, Any]:
        """The models that answer, the default one first."""
        return {"object": "list", "data": [card(name) for name in engine.pool.offered]}

    @router.get("/v1/models/{model:path}", response_model=replies.ModelCard)
    async def retrieve_model(model: str) -> dict[str, Any]:
        """One model, also one that only embeds."""
        if model not in EMBEDDERS:
            engine.pool.spec(model)
        return card(model)

    @router.get("/health", response_model=replies.Health)
    async def health() -> dict[str, str]:
        """That the server answers. It says nothing of models, which are loaded when they are asked."""
        return {"status": "ok"}

    @router.get(
        "/metrics",
        response_model=None,
        responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(engine.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
