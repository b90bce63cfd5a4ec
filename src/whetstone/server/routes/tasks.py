"""/v1/tasks: task cards, listed with what they take, and done."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from whetstone.errors import UnknownNameError
from whetstone.server import replies, wire
from whetstone.server.documented import ERRORS
from whetstone.server.encoding import dumps
from whetstone.server.errors import INVALID, ApiError
from whetstone.server.schemas import TaskRequest
from whetstone.server.streaming import Engine
from whetstone.tasks import Card, CardShelf
from whetstone.tasks.result import TaskResult
from whetstone.tasks.run import run_card


def task_routes(engine: Engine) -> APIRouter:
    """Everyday tasks."""
    router = APIRouter(tags=["tasks"], responses=ERRORS)

    @router.get("/v1/tasks", response_model=None, responses={200: {"model": replies.TaskList}})
    async def listed() -> Response:
        """The task cards: what each does, what it takes (as a JSON Schema), and what goes wrong."""
        data = [_listed(card) for card in engine.cards]
        return Response(dumps({"object": "list", "data": data}), media_type="application/json")

    @router.get("/v1/tasks/{name}", response_model=None, responses={200: {"model": replies.TaskCard}})
    async def one(name: str) -> Response:
        """One of the task cards."""
        return Response(dumps(_listed(_card(engine.cards, name))), media_type="application/json")

    @router.post("/v1/tasks/{name}", response_model=None, responses={200: {"model": replies.TaskReply}})
    async def done(name: str, body: TaskRequest, request: Request) -> Response:
        """Do a task.

        A text beyond the model's context is read in parts where the card can, and a note says so. With `run`, code is
        run where it can do no harm, and repaired from its errors; a machine without guards for that refuses, and so
        does a server whose owner did not allow it.
        """
        card = _card(engine.cards, name)
        if body.run and card.output == "code" and not engine.limits.run_code:
            raise ApiError(
                403, "This server runs no code; `whet serve --run-code` allows it", kind=INVALID, param="run"
            )
        model = body.model or engine.pool.default
        engine.pool.spec(model)
        card.check(body.inputs)
        shots = card.cases("train")
        if body.shots > len(shots):
            raise ApiError(400, f"{name} has {len(shots)} solved cases to show, not {body.shots}", param="shots")

        def task() -> TaskResult:
            return run_card(
                card,
                engine.pool.get(model),
                body.inputs,
                shots=shots[: body.shots],
                options=body.options(),
                part_tokens=body.part_tokens,
                run=body.run,
                repairs=body.repairs,
            )

        result = await engine.work(request, task)
        engine.metrics.count_tokens(engine.label(model), result.usage)
        found = result.to_json(trace=body.trace)
        found |= {"object": "task", "model": model, "usage": wire.usage_json(result.usage)}
        return Response(dumps(found), media_type="application/json")

    return router


def _card(cards: CardShelf, name: str) -> Card:
    try:
        return cards.find(name[:80])
    except UnknownNameError as error:
        raise ApiError(404, str(error), kind=INVALID, param="name") from None


def _listed(card: Card) -> dict[str, object]:
    return {"object": "task_card", **card.to_json()}
