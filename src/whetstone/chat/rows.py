"""Rows of the tables as values, and values as rows."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from whetstone.chat.tables import folded, turns
from whetstone.storage.process import Process
from whetstone.types import Conversation, Message, ModelIdentity, Options, Origin, Turn, TurnState, Usage

SILENCE = 30.0  # seconds without a heartbeat after which a writer on another machine counts as gone

Row = dict[str, Any]


class clock_seconds(FunctionElement[float]):
    """Seconds since 1970 by the clock of the database, which all machines that use it share."""

    type = sa.Double()
    inherit_cache = True


@compiles(clock_seconds, "sqlite")
def _sqlite_clock(element: clock_seconds, compiler: SQLCompiler, **kwargs: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(clock_seconds, "postgresql")
def _postgres_clock(element: clock_seconds, compiler: SQLCompiler, **kwargs: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


# What `turn_of` reads.
turn_columns = (*turns.c, (clock_seconds() - turns.c.heartbeat).label("silent"))


def lines_of(message: Message) -> str:
    """What a message says, each part on lines of its own, as titles and the search read it."""
    content = message["content"]
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""


def title_from(message: Message, length: int = 60) -> str:
    """A title: the first line of a message that says something, cut between words."""
    line = next((line for line in lines_of(message).splitlines() if line.strip()), "")
    line = " ".join(line.split())
    if len(line) <= length:
        return line
    cut = line[: length - 1]
    words = cut.rpartition(" ")[0]
    return (words if len(words) > length // 2 else cut).rstrip() + "…"


def options_row(options: Options) -> Row:
    return options.model_dump(mode="json", exclude_defaults=True)


def conversation_of(row: sa.RowMapping) -> Conversation:
    return Conversation(
        id=row["id"],
        title=row["title"],
        model=row["model"],
        system=row["system"],
        options=Options.model_validate(row["options"]),
        head=row["head"],
        created=row["created"],
        updated=row["updated"],
    )


def conversation_row(conversation: Conversation) -> Row:
    return {
        "id": conversation.id,
        "title": conversation.title,
        "title_folded": folded(conversation.title),
        "model": conversation.model,
        "system": conversation.system,
        "options": options_row(conversation.options),
        "head": conversation.head,
        "created": conversation.created,
        "updated": conversation.updated,
    }


def turn_of(row: sa.RowMapping) -> Turn:
    return Turn(
        id=row["id"],
        conversation=row["conversation"],
        parent=row["parent"],
        message=cast(Message, row["message"]),
        created=row["created"],
        reasoning=row["reasoning"],
        state=_state(row),
        error=row["error"],
        origin=None if row["model_spec"] is None else _origin(row),
    )


def turn_row(turn: Turn) -> Row:
    """Every column; those of the origin are empty where there is none."""
    return {
        **_NO_ORIGIN,
        "id": turn.id,
        "conversation": turn.conversation,
        "parent": turn.parent,
        "created": turn.created,
        "state": turn.state,
        "error": turn.error,
        **said_row(turn.message, turn.reasoning),
        **({} if turn.origin is None else origin_row(turn.origin)),
    }


def said_row(message: Message, reasoning: str) -> Row:
    """The columns that change while an answer is written."""
    return {"message": message, "message_folded": folded(lines_of(message)), "reasoning": reasoning}


def origin_row(origin: Origin) -> Row:
    return {
        "model_spec": origin.model.spec,
        "model_engine": origin.model.engine,
        "model_name": origin.model.name,
        "model_revision": origin.model.revision,
        "model_template": origin.model.template,
        "options": options_row(origin.options),
        "prompt_hash": origin.prompt_hash or None,
        "system": origin.system,
        "prompt_tokens": origin.usage.prompt_tokens,
        "completion_tokens": origin.usage.completion_tokens,
        "cached_tokens": origin.usage.cached_tokens,
        "seconds": origin.seconds,
        "first_token_seconds": origin.first_token_seconds,
        "cost": origin.cost,
        "finish_reason": origin.finish_reason,
    }


_NO_ORIGIN: Row = dict.fromkeys(origin_row(Origin(ModelIdentity("", "", ""))))


def _origin(row: sa.RowMapping) -> Origin:
    return Origin(
        model=ModelIdentity(
            spec=row["model_spec"],
            engine=row["model_engine"],
            name=row["model_name"],
            revision=row["model_revision"],
            template=row["model_template"],
        ),
        options=Options.model_validate(row["options"]),
        prompt_hash=row["prompt_hash"] or "",
        system=row["system"],
        usage=Usage(row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]),
        seconds=row["seconds"],
        first_token_seconds=row["first_token_seconds"],
        cost=row["cost"],
        finish_reason=row["finish_reason"],
    )


def _state(row: sa.RowMapping) -> TurnState:
    state = cast(TurnState, row["state"])
    if state != "streaming":
        return state
    runs = Process.parse(row["writer"]).runs() if row["writer"] else None
    if runs is None:
        runs = row["silent"] is not None and row["silent"] < SILENCE
    return "streaming" if runs else "partial"
