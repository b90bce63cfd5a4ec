"""/v1/embeddings"""

from __future__ import annotations

import base64
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request, Response

from whetstone.embeddings import EMBEDDERS, Embedder, load_embedder
from whetstone.registry import unknown_name
from whetstone.server import replies
from whetstone.server.documented import ERRORS
from whetstone.server.encoding import dumps
from whetstone.server.errors import ApiError, refused
from whetstone.server.schemas import EmbeddingRequest
from whetstone.server.streaming import Engine
from whetstone.types import Usage

DEFAULT_EMBEDDER = "minilm"


class Embedders:
    """Embedders by name, each loaded once, when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, Embedder] = {}

    def get(self, name: str) -> Embedder:
        """The embedder of that name. Raises what `load_embedder` raises."""
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load_embedder(name)
            return self._loaded[name]


def embedding_routes(engine: Engine) -> APIRouter:
    """Texts as vectors."""
    router = APIRouter(tags=["embeddings"], responses=ERRORS)
    embedders = Embedders()

    @router.post("/v1/embeddings", response_model=None, responses={200: {"model": replies.EmbeddingList}})
    async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
        """Turn texts into vectors of length 1. A text that the model cannot read to its end is refused."""
        model = body.model or DEFAULT_EMBEDDER
        if model not in EMBEDDERS:
            raise ApiError(
                404, str(unknown_name("embedding model", model, list(EMBEDDERS))), param="model", code="model_not_found"
            )
        texts = _texts(body, engine.limits.inputs)

        def task() -> tuple[npt.NDArray[np.float32], int]:
            embedder = embedders.get(model)
            if body.dimensions not in (None, embedder.dimension):
                raise refused(
                    f"{model} gives vectors of {embedder.dimension} numbers and no others; leave dimensions out",
                    "dimensions",
                )
            counts = embedder.count_tokens(texts)
            for index, count in enumerate(counts):
                if count > embedder.max_tokens:
                    raise refused(
                        f"input[{index}] has {count} tokens, and {model} reads {embedder.max_tokens}; send it in parts",
                        "input",
                        "context_length_exceeded",
                    )
            return embedder.embed(texts), sum(counts)

        vectors, tokens = await engine.work(request, task)
        engine.metrics.count_tokens(model, Usage(tokens, 0))
        encode = _base64 if body.encoding_format == "base64" else _numbers
        data = [
            {"object": "embedding", "index": index, "embedding": encode(vector)} for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Response(
            dumps({"object": "list", "data": data, "model": model, "usage": usage}), media_type="application/json"
        )

    return router


def _texts(body: EmbeddingRequest, most: int) -> list[str]:
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts or not all(texts):
        raise refused("input is empty, or holds an empty text", "input")
    if not all(isinstance(text, str) for text in texts):
        raise refused(
            "input holds token ids, which mean nothing without their tokenizer; send text (in LangChain: "
            "check_embedding_ctx_length=False)",
            "input",
        )
    if len(texts) > most:
        raise refused(f"input holds {len(texts)} texts; send at most {most} at once", "input")
    return [str(text) for text in texts]


def _numbers(vector: npt.NDArray[np.float32]) -> Any:
    return [float(value) for value in vector]


def _base64(vector: npt.NDArray[np.float32]) -> Any:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
