"""What must be said about how an answer ended, and about what its prompt was without."""

from __future__ import annotations

from whetstone.chat.answer import Answering
from whetstone.chat.context import Fitting
from whetstone.chat.tool_answer import ToolAnswer
from whetstone.types import Turn, text_of


def ending(turn: Turn, *, interactive: bool) -> str:
    """What must be said about how an answer ended; "" where nothing must."""
    again = "/retry asks again" if interactive else "`whet chat --continue` on a terminal, then /retry, asks again"
    on = "/resume goes on where it ended" if interactive else "`whet chat --continue`, then /resume, goes on"
    arrived = bool(text_of(turn.message).strip())
    kept = "what had arrived is kept" if arrived else "nothing had arrived"
    if turn.state == "failed":
        return f"{turn.error}; {kept}: {again}"
    if turn.state != "complete":
        return f"stopped; {kept}: {again}{f', {on}' if arrived else ''}"
    if turn.origin is not None and turn.origin.finish_reason == "length":
        return f"the answer was cut off at the most tokens it may have: {on}"
    if turn.origin is not None and turn.origin.finish_reason == "content_filter":
        return "the provider's filter ended the answer"
    if not arrived and not turn.message.get("tool_calls"):
        return f"the model said nothing: {again}"
    return ""


def left_out(fitting: Fitting) -> str:
    """What was left out of a request; "" for nothing."""
    if not fitting.dropped:
        return ""
    instead = "; a summary was sent instead" if fitting.summary else ""
    return f"{len(fitting.dropped)} messages did not fit and were left out of the prompt{instead}; they are kept"


def spent(answer: Answering) -> str:
    """That an answer with tools ended at one of its limits; "" where it did not."""
    if not isinstance(answer, ToolAnswer) or answer.ended is None:
        return ""
    return {
        "rounds": "the model may call no more tools in this answer, and said what it could; --tool-rounds sets it",
        "seconds": "the time for this answer was over; --tool-seconds sets it",
        "cost": "the cost that this answer may have was reached; --tool-cost sets it",
    }.get(answer.ended.reason, "")
