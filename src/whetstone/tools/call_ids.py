"""Ids of calls, made unique in their conversation: some engines leave them out, and some begin anew with each reply."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Generator, Iterator, Sequence
from functools import partial

from whetstone.models.base import ReplyStream, close_stream
from whetstone.types import Chunk, Message, ToolCall


def with_own_ids(chunks: Iterator[Chunk], messages: Sequence[Message]) -> ReplyStream:
    """A reply in which each call has an id that no other call of the conversation has.

    Args:
        chunks: the reply.
        messages: what it answers.
    """
    taken = {str(call.get("id")) for message in messages for call in message.get("tool_calls") or ()}

    def named(call: ToolCall) -> ToolCall:
        free = (f"call_{number}" for number in itertools.count(len(taken)))
        id = call.id if call.id and call.id not in taken else next(id for id in free if id not in taken)
        taken.add(id)
        return dataclasses.replace(call, id=id)

    def renamed() -> Generator[Chunk]:
        try:
            for chunk in chunks:
                calls = tuple(map(named, chunk.tool_calls))
                yield dataclasses.replace(chunk, tool_calls=calls) if calls else chunk
        finally:
            close_stream(chunks)

    return ReplyStream(renamed(), partial(close_stream, chunks))
