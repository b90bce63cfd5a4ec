"""/v1/estimate: numbers as distributions; of prices unless the grid says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from fastapi import APIRouter, Request, Response

from whetstone.server import replies, wire
from whetstone.server.documented import ERRORS
from whetstone.server.encoding import dumps
from whetstone.server.errors import refused
from whetstone.server.schemas import EstimateRequest
from whetstone.server.streaming import Engine
from whetstone.types import Usage
from whetstone.workflows.price import PricedItem, Unpriced
from whetstone.workflows.pricers import Pricers

MOST_ITEMS = 256  # of one request; one item may take a small model a second


def estimate_routes(engine: Engine) -> APIRouter:
    """What items cost."""
    router = APIRouter(tags=["estimates"], responses=ERRORS)
    pricers = Pricers()

    @router.post("/v1/estimate", response_model=None, responses={200: {"model": replies.EstimateList}})
    async def estimate(body: EstimateRequest, request: Request) -> Response:
        """The price of each item: an estimate, an interval, and the most probable candidates.

        A model that runs here gives its whole distribution. One behind an endpoint gives bounds, and `bound` says how
        wide they are.
        """
        model = body.model or engine.pool.default
        engine.pool.spec(model)
        texts = _texts(body)

        def task() -> Iterator[PricedItem | Unpriced]:
            pricer = pricers.get(engine.pool.get(model), body.grid)
            for found in pricer.price(texts, level=body.level, estimate=body.estimate):
                if isinstance(found, Unpriced):
                    raise refused(f"input[{found.index}]: {found.reason}", "input", "not_estimable")
                yield found

        found = await engine.gather(request, task)
        priced = [one for one in found if isinstance(one, PricedItem)]
        usage = reduce(Usage.__add__, (one.usage for one in priced), Usage())
        engine.metrics.count_tokens(engine.label(model), usage)
        reply = {
            "object": "list",
            "data": [_as_json(one) for one in priced],
            "model": model,
            "usage": wire.usage_json(usage),
        }
        return Response(dumps(reply), media_type="application/json")

    return router


def _texts(body: EstimateRequest) -> list[str]:
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts or not all(text.strip() for text in texts):
        raise refused("input is empty, or holds an empty text", "input")
    if len(texts) > MOST_ITEMS:
        raise refused(f"input holds {len(texts)} texts; send at most {MOST_ITEMS} at once", "input")
    return texts


def _as_json(found: PricedItem) -> dict[str, Any]:
    told = found.to_json()
    del told["nearest"]  # the server knows no items
    return {"object": "estimate", "index": found.index, **told}
