"""/tokenize, /detokenize and /apply-template, in the form of llama.cpp's server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from whetstone.models import ChatModel, PromptModel, RenderingModel, TokenizingModel
from whetstone.server import replies
from whetstone.server.documented import ERRORS
from whetstone.server.encoding import dumps
from whetstone.server.errors import refused
from whetstone.server.schemas import DetokenizeRequest, TemplateRequest, TokenizeRequest
from whetstone.server.streaming import Engine
from whetstone.types import Options

T = TypeVar("T")


def token_routes(engine: Engine) -> APIRouter:
    """What a model's tokenizer and template make of text."""
    router = APIRouter(tags=["tokens"], responses=ERRORS)

    async def ask(request: Request, name: str | None, question: Callable[[ChatModel, str], dict[str, Any]]) -> Response:
        model = name or engine.pool.default
        engine.pool.spec(model)
        found = await engine.work(request, lambda: question(engine.pool.get(model), model))
        return Response(dumps(found), media_type="application/json")

    @router.post("/tokenize", response_model=None, responses={200: {"model": replies.Tokens}})
    async def tokenize(body: TokenizeRequest, request: Request) -> Response:
        """A text as token ids. A piece that ends inside a character is shown with U+FFFD."""
        if body.add_special:
            raise refused("add_special is not supported here; /apply-template shows how a prompt begins", "add_special")

        def question(found: ChatModel, model: str) -> dict[str, Any]:
            tokenizer = _tokenizer(found, model)
            ids = tokenizer.encode(body.content, special=body.parse_special)
            if not body.with_pieces:
                return {"tokens": ids}
            pieces = {token: tokenizer.decode([token]) for token in set(ids)}
            return {"tokens": [{"id": token, "piece": pieces[token]} for token in ids]}

        return await ask(request, body.model, question)

    @router.post("/detokenize", response_model=None, responses={200: {"model": replies.Content}})
    async def detokenize(body: DetokenizeRequest, request: Request) -> Response:
        """Token ids as text. Bytes that are no character become U+FFFD."""

        def question(found: ChatModel, model: str) -> dict[str, Any]:
            return {"content": _tokenizer(found, model).decode(body.tokens)}

        return await ask(request, body.model, question)

    @router.post("/apply-template", response_model=None, responses={200: {"model": replies.Prompt}})
    async def apply_template(body: TemplateRequest, request: Request) -> Response:
        """The text that a model is sent for a conversation, up to where its reply begins, and its token ids.

        The ids are not always those of the text: a control token that a message spells is sent as text.
        """
        options = Options(tools=tuple(tool.model_dump(exclude_none=True) for tool in body.tools or ()))
        messages = [message.as_message() for message in body.messages]

        def question(found: ChatModel, model: str) -> dict[str, Any]:
            if not isinstance(found, RenderingModel):
                raise refused(f"{model} does not show its template", "model")
            told: dict[str, Any] = {"prompt": found.render(messages, options)}
            if isinstance(found, PromptModel):
                told["tokens"] = found.prompt_ids(messages, options)
            return told

        return await ask(request, body.model, question)

    return router


def _tokenizer(found: ChatModel, model: str) -> TokenizingModel:
    if not isinstance(found, TokenizingModel):
        raise refused(f"{model} does not give its tokenizer", "model")
    return found
