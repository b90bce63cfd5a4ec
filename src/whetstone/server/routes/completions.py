"""/v1/completions"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response

from whetstone.models.base import CompletionModel
from whetstone.server import replies
from whetstone.server.documented import ERRORS
from whetstone.server.errors import ApiError, refused
from whetstone.server.schemas import CompletionRequest
from whetstone.server.streaming import Answering, Engine, EventStream
from whetstone.server.wire import TextForm
from whetstone.types import Chunk


def completion_routes(engine: Engine) -> APIRouter:
    """Plain text that is continued, without a chat template."""
    router = APIRouter(tags=["completions"], responses=ERRORS)

    @router.post(
        "/v1/completions",
        response_model=None,
        responses={200: {"model": replies.TextCompletion, "content": replies.EVENT_STREAM}},
    )
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """Continue plain text or token ids, whole or as a stream of server-sent events."""
        model = body.model or engine.pool.default
        engine.pool.spec(model)  # refused before anything else is looked at
        prompts, count = body.prompts(), body.n or 1
        if len(prompts) * count > engine.limits.choices:
            raise ApiError(
                400,
                f"{len(prompts)} prompts with n={count}: at most {engine.limits.choices} answers are given at once",
                param="n" if count > 1 else "prompt",
            )

        def opening(index: int) -> Iterator[Chunk]:
            found = engine.pool.get(model)
            if not isinstance(found, CompletionModel):
                raise refused(f"{model} continues no plain text; use /v1/chat/completions", "model")
            return found.complete(prompts[index // count], body.options(index % count))

        indices = range(len(prompts) * count)
        answering = Answering(
            engine=engine,
            form=TextForm(body.logprobs),
            model=model,
            sources=[lambda index=index: opening(index) for index in indices],  # type: ignore[misc]
            prompt_of=[index // count for index in indices],
            with_usage=body.with_usage,
        )
        return EventStream(answering) if body.stream else await answering.whole(request)

    return router
