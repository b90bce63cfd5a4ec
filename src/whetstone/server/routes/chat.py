"""/v1/chat/completions"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response

from whetstone.server import replies
from whetstone.server.documented import ERRORS
from whetstone.server.errors import ApiError
from whetstone.server.schemas import ChatRequest
from whetstone.server.streaming import Answering, Engine, EventStream
from whetstone.server.wire import ChatForm
from whetstone.types import Chunk


def chat_routes(engine: Engine) -> APIRouter:
    """Chats."""
    router = APIRouter(tags=["chat"], responses=ERRORS)

    @router.post(
        "/v1/chat/completions",
        response_model=None,
        responses={200: {"model": replies.ChatCompletion, "content": replies.EVENT_STREAM}},
    )
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        """Answer a conversation, whole or as a stream of server-sent events."""
        model = body.model or engine.pool.default
        engine.pool.spec(model)  # refused before anything else is looked at
        count = body.n or 1
        if count > engine.limits.choices:
            raise ApiError(400, f"n is {count}; at most {engine.limits.choices} answers are given at once", param="n")
        messages = body.as_messages()

        def opening(index: int) -> Iterator[Chunk]:
            return engine.pool.get(model).stream(messages, body.options(index))

        answering = Answering(
            engine=engine,
            form=ChatForm(body.alternatives),
            model=model,
            sources=[lambda index=index: opening(index) for index in range(count)],  # type: ignore[misc]
            prompt_of=[0] * count,
            with_usage=body.with_usage,
        )
        return EventStream(answering) if body.stream else await answering.whole(request)

    return router
