"""`whet chat MESSAGE`: one answer, and out. What goes to standard output is the answer, and nothing else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer

from whetstone.chat.answer import Answering
from whetstone.chat.context import DoesNotFitError, Overflow
from whetstone.chat.session import ChatSession
from whetstone.chat.tool_answer import ToolAnswer
from whetstone.cli.chat_ending import ending, left_out, spent
from whetstone.cli.chat_feed import Feed, FeedEvent
from whetstone.cli.chat_talk import Talk
from whetstone.cli.chat_tools import ChatTools, tools_for
from whetstone.cli.chat_tools_show import call_line, returned_line
from whetstone.cli.output import as_json
from whetstone.cli.visible import one_line
from whetstone.errors import ModelError, UsageError
from whetstone.tools.events import Called, Returned
from whetstone.tools.tool_trace import call_as_json
from whetstone.types import Chunk, ToolCall, text_of

_PATIENCE = 3.0  # seconds before it is said that standard input is being read


def read_message(argument: str | None) -> str:
    """The message: the argument, what is piped in, or the argument, an empty line, and what is piped in.

    Raises:
        UsageError: what is piped in is no text, or there is no message.
    """
    piped = _read_piped()
    parts = [part for part in (argument or "", piped) if part.strip()]
    if not parts:
        raise UsageError("the message is empty: write `whet chat MESSAGE`, or pipe a text in")
    return "\n\n".join(parts)


def _read_piped() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    waiting = threading.Timer(_PATIENCE, lambda: notice("reading standard input until it ends"))
    waiting.daemon = True
    waiting.start()
    try:
        data = sys.stdin.buffer.read()
    finally:
        waiting.cancel()
    if b"\0" in data[:100_000]:
        raise UsageError("standard input is binary, not text: pipe in text as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is no UTF-8 text (byte 0x{data[error.start]:02x} at {error.start:,}): convert it first, "
            "for example with `iconv -t utf-8`"
        ) from None


def notice(text: str) -> None:
    """Say something that is not the answer."""
    with suppress(OSError):
        print(f"whet: {one_line(text)}", file=sys.stderr, flush=True)


def answer_once(talk: Talk, message: str, overflow: Overflow, *, json: bool) -> None:
    """Answer a message, and exit with 0 if the answer is complete.

    Raises:
        WhetstoneError: it could not be asked for.
        typer.Exit: the model failed in mid-answer, or the person stopped it; what had arrived is written, and kept.
    """
    session = talk.begin()
    try:
        feed = Feed(_asking(session, message, overflow, talk.tools))
        failure = _show(feed, json)
    finally:
        talk.forget_if_empty()
    given = feed.answer
    if given is None:
        if isinstance(failure, DoesNotFitError) and failure.would_drop:
            notice("--overflow drop-oldest leaves these messages out of the prompt, --overflow summarise sums them up")
        # Said here and not at the top of the program: it may hold the words of an endpoint.
        notice(str(failure) if failure is not None else "stopped before the model was asked")
        raise typer.Exit(failure.exit_code if failure is not None else 1)
    turn = given.turn
    if json:
        sys.stdout.write(as_json(_as_dict(talk, given)))
        sys.stdout.flush()
    said = ending(turn, interactive=False) if talk.kept else turn.error
    for note in (left_out(given.fitting), said, spent(given)):
        if note:
            notice(note)
    if failure is not None:
        raise typer.Exit(failure.exit_code)
    if turn.state != "complete":
        raise typer.Exit(1)


def _asking(
    session: ChatSession, message: str, overflow: Overflow, tools: ChatTools | None
) -> Callable[[Feed], Answering]:
    path = session.path()
    last = path[-1] if path else None
    if last is not None and last.state == "streaming":
        raise UsageError("another process is writing an answer in this conversation: wait for it, or begin a new one")
    if last is not None and last.state == "partial":
        notice("the last answer was cut off; the conversation goes on after what there is of it")
    if last is not None and last.message["role"] == "user":
        notice("the last message has no answer; this one takes its place")
        return lambda feed: session.edit(last.id, message, overflow=overflow, tools=tools_for(tools, feed))
    return lambda feed: session.ask(message, overflow=overflow, tools=tools_for(tools, feed))


def _show(feed: Feed, json: bool) -> ModelError | None:
    """Write the answer as it comes; the failure that ended it."""
    try:
        if json:
            for event in feed.events():
                _tell(event)
        elif sys.stdout.isatty():
            _show_on_terminal(feed)
        else:
            _write_plainly(feed)
    except ModelError as error:
        return error
    return None


def _show_on_terminal(feed: Feed) -> None:
    from rich.console import Console

    from whetstone.cli.chat_answering import draw
    from whetstone.cli.chat_input import PromptInput

    keys = PromptInput(None, list)

    def consent(call: ToolCall) -> bool:
        if sys.stdin is not None and sys.stdin.isatty():
            return keys.choose(f"Call {call.name}?", {"y": "yes", "n": "no"}) == "y"
        return _refuse(call)

    draw(Console(), feed.events(), consent)


def _tell(event: FeedEvent) -> None:
    """Say on standard error what tools do. Nobody can be asked here, so what is not allowed by name is refused."""
    if isinstance(event, Called):
        notice(call_line(event.call))
    elif isinstance(event, Returned):
        notice(returned_line(event))
    elif not isinstance(event, Chunk):
        event.answer(_refuse(event.call))


def _refuse(call: ToolCall) -> bool:
    notice(f"{call.name} was not called, as nobody can be asked here: --allow {call.name} allows it")
    return False


def _write_plainly(feed: Feed) -> None:
    """The exact text, and a line feed behind it if it has none."""
    last = "\n"
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # half of a surrogate pair must not end the program
    try:
        for event in feed.events():
            if isinstance(event, Chunk) and event.text:
                sys.stdout.write(event.text)
                sys.stdout.flush()
                last = event.text
            elif isinstance(event, Called) and not last.endswith("\n"):  # what it says next is another reply
                sys.stdout.write("\n")
                last = "\n"
            _tell(event)
    finally:
        if not last.endswith("\n"):
            with suppress(BrokenPipeError):
                sys.stdout.write("\n")
                sys.stdout.flush()


def _as_dict(talk: Talk, given: Answering) -> dict[str, Any]:
    turn = given.turn
    origin = turn.origin
    assert origin is not None  # an answer of a model
    told: dict[str, Any] = {
        "conversation": turn.conversation if talk.kept else None,
        "turn": turn.id if talk.kept else None,
        "state": turn.state,
        "error": turn.error,
        "reply": text_of(turn.message),
        "reasoning": turn.reasoning,
        "model": origin.model.spec,
        "engine": origin.model.engine,
        "revision": origin.model.revision,
        "prompt_hash": origin.prompt_hash,
        "options": origin.options.model_dump(exclude_none=True, exclude_defaults=True),
        "usage": {
            "prompt_tokens": origin.usage.prompt_tokens,
            "completion_tokens": origin.usage.completion_tokens,
            "cached_tokens": origin.usage.cached_tokens,
        },
        "seconds": origin.seconds,
        "first_token_seconds": origin.first_token_seconds,
        "cost": origin.cost,
        "finish_reason": origin.finish_reason,
        "left_out": len(given.fitting.dropped),
    }
    if isinstance(given, ToolAnswer):
        told["tool_calls"] = [call_as_json(call) for call in given.calls]
        told["whole_answer"] = _whole(given)
    return told


def _whole(given: ToolAnswer) -> dict[str, Any] | None:
    """Figures of all replies of an answer with tools; None where the model failed in it."""
    if given.ended is None:
        return None
    usage = given.ended.usage
    return {
        "ended": given.ended.reason,
        "replies": given.ended.rounds,
        "usage": {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens},
        "seconds": given.ended.seconds,
        "cost": given.ended.cost,
    }
