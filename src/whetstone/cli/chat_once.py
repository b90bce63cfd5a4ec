"""`whet chat MESSAGE`: one answer, and out. What goes to standard output is the answer, and nothing else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer

from whetstone.chat.answer import Answer
from whetstone.chat.context import DoesNotFitError, Overflow
from whetstone.chat.session import ChatSession
from whetstone.cli.chat_ending import ending, left_out
from whetstone.cli.chat_feed import Feed
from whetstone.cli.chat_talk import Talk
from whetstone.cli.output import as_json
from whetstone.cli.visible import one_line
from whetstone.errors import ModelError, UsageError
from whetstone.types import Turn, text_of

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
        begin = _asking(session, message, overflow)
        feed = Feed(begin)
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
        sys.stdout.write(as_json(_as_dict(talk, turn, list(given.fitting.dropped))))
        sys.stdout.flush()
    said = ending(turn, interactive=False) if talk.kept else turn.error
    for note in (left_out(given.fitting), said):
        if note:
            notice(note)
    if failure is not None:
        raise typer.Exit(failure.exit_code)
    if turn.state != "complete":
        raise typer.Exit(1)


def _asking(session: ChatSession, message: str, overflow: Overflow) -> Callable[[], Answer]:
    path = session.path()
    last = path[-1] if path else None
    if last is not None and last.state == "streaming":
        raise UsageError("another process is writing an answer in this conversation: wait for it, or begin a new one")
    if last is not None and last.state == "partial":
        notice("the last answer was cut off; the conversation goes on after what there is of it")
    if last is not None and last.message["role"] == "user":
        notice("the last message has no answer; this one takes its place")
        return lambda: session.edit(last.id, message, overflow=overflow)
    return lambda: session.ask(message, overflow=overflow)


def _show(feed: Feed, json: bool) -> ModelError | None:
    """Write the answer as it comes; the failure that ended it."""
    try:
        if json:
            for _ in feed.chunks():
                pass
        elif sys.stdout.isatty():
            _show_on_terminal(feed)
        else:
            _write_plainly(feed)
    except ModelError as error:
        return error
    return None


def _show_on_terminal(feed: Feed) -> None:
    from rich.console import Console

    from whetstone.cli.chat_display import AnswerDisplay
    from whetstone.cli.chat_input import without_echo

    with without_echo(), AnswerDisplay(Console()) as display:
        for chunk in feed.chunks():
            display.add(chunk)


def _write_plainly(feed: Feed) -> None:
    """The exact text, and a line feed behind it if it has none."""
    last = "\n"
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # half of a surrogate pair must not end the program
    try:
        for chunk in feed.chunks():
            if chunk.text:
                sys.stdout.write(chunk.text)
                sys.stdout.flush()
                last = chunk.text
    finally:
        if not last.endswith("\n"):
            with suppress(BrokenPipeError):
                sys.stdout.write("\n")
                sys.stdout.flush()


def _as_dict(talk: Talk, turn: Turn, dropped: list[int]) -> dict[str, Any]:
    origin = turn.origin
    assert origin is not None  # an answer of a model
    return {
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
        "left_out": len(dropped),
    }
