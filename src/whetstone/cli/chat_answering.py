"""One answer on a terminal: asked for, drawn as it comes, stopped by Ctrl-C, and what must be said about its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from whetstone.chat.answer import Answer
from whetstone.chat.context import DoesNotFitError, Overflow
from whetstone.chat.session import ChatSession
from whetstone.cli.chat_display import AnswerDisplay
from whetstone.cli.chat_feed import Feed
from whetstone.cli.chat_input import without_echo
from whetstone.cli.chat_show import say, show_dropped
from whetstone.errors import ModelError
from whetstone.models import TokenizingModel
from whetstone.models.pool import ModelPool
from whetstone.types import Chunk, Message, Turn, text_of, user


@dataclass(frozen=True, slots=True)
class Question:
    """Something to be answered.

    Attributes:
        begin: asks for it.
        messages: what would be sent if everything fitted.
        begun: text that the answer begins with.
    """

    begin: Callable[[Overflow], Answer]
    messages: Callable[[], Sequence[Message]]
    begun: str = ""


def ask(session: ChatSession, text: str) -> Question:
    """The person says something."""
    return Question(
        lambda overflow: session.ask(text, overflow=overflow),
        lambda: [*session.messages(), user(text)],
    )


def edit(session: ChatSession, turn: Turn, text: str) -> Question:
    """The person says something else instead."""
    before = [] if turn.parent is None else session.messages(turn.parent)
    system = [message for message in session.messages()[:1] if message["role"] == "system"]
    return Question(
        lambda overflow: session.edit(turn.id, text, overflow=overflow),
        lambda: [*(before or system), user(text)],
    )


def retry(session: ChatSession, turn: Turn) -> Question:
    """Another answer beside an answer, or the first one to a message."""
    parent = turn.id if turn.message["role"] == "user" else turn.parent
    return Question(
        lambda overflow: session.retry(turn.id, overflow=overflow),
        lambda: session.messages(parent),
    )


def resume(session: ChatSession, turn: Turn) -> Question:
    """An answer beside a partial one that goes on where that was cut off."""
    return Question(
        lambda overflow: session.resume(turn.id, overflow=overflow),
        lambda: session.messages(turn.id),
        begun=text_of(turn.message),
    )


def answer(console: Console, question: Question, overflow: Overflow) -> Feed:
    """Draw an answer. A model's failure in the middle of it is in its turn.

    Args:
        console: a terminal.
        question: what is answered.
        overflow: what to do when it does not fit.

    Raises:
        WhetstoneError: it could not be asked for, or not be kept.
    """
    feed = Feed(lambda: question.begin(overflow))
    try:
        with without_echo(), AnswerDisplay(console, "; /reasoning shows it") as display:
            if question.begun:
                display.add(Chunk(text=question.begun))
            for chunk in feed.chunks():
                display.add(chunk)
    except ModelError:
        if feed.answer is None:
            raise
    return feed


def explain(console: Console, error: DoesNotFitError, question: Question, pool: ModelPool, model: str) -> None:
    """Say why it does not fit, and which messages dropping the oldest would leave out."""
    say(console, f"This does not fit: {error}", "yellow")
    if not error.would_drop:
        return
    messages = question.messages()
    show_dropped(
        console,
        [
            (messages[number]["role"], text_of(messages[number]), _tokens(pool, model, text_of(messages[number])))
            for number in error.would_drop
        ],
    )


def _tokens(pool: ModelPool, model: str, text: str) -> int:
    loaded = pool.get(model)
    if isinstance(loaded, TokenizingModel):
        try:
            return len(loaded.encode(text))
        except ModelError:
            pass
    return len(text) // 4 + 1
