"""One answer on a terminal: asked for, drawn as it comes, stopped by Ctrl-C, and what must be said about its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console

from whetstone.chat.answer import Answering
from whetstone.chat.context import DoesNotFitError, Overflow
from whetstone.chat.session import ChatSession
from whetstone.cli.chat_display import AnswerDisplay
from whetstone.cli.chat_feed import ConsentAsked, Feed, FeedEvent
from whetstone.cli.chat_input import without_echo
from whetstone.cli.chat_show import say, show_dropped
from whetstone.cli.chat_tools import ChatTools, tools_for
from whetstone.cli.chat_tools_show import show_call, show_returned
from whetstone.errors import ModelError
from whetstone.models import TokenizingModel
from whetstone.models.pool import ModelPool
from whetstone.tools.calling import Consent
from whetstone.tools.events import Called, Returned
from whetstone.types import Chunk, Message, Turn, text_of, user


@dataclass(frozen=True, slots=True)
class Question:
    """Something to be answered.

    Attributes:
        begin: asks for it; the feed is asked about calls of tools, and told of them.
        messages: what would be sent if everything fitted.
        begun: text that the answer begins with.
    """

    begin: Callable[[Overflow, Feed], Answering]
    messages: Callable[[], Sequence[Message]]
    begun: str = ""


def ask(session: ChatSession, text: str, tools: ChatTools | None) -> Question:
    """The person says something."""
    return Question(
        lambda overflow, feed: session.ask(text, overflow=overflow, tools=tools_for(tools, feed)),
        lambda: [*session.messages(), user(text)],
    )


def edit(session: ChatSession, turn: Turn, text: str, tools: ChatTools | None) -> Question:
    """The person says something else instead."""
    before = [] if turn.parent is None else session.messages(turn.parent)
    system = [message for message in session.messages()[:1] if message["role"] == "system"]
    return Question(
        lambda overflow, feed: session.edit(turn.id, text, overflow=overflow, tools=tools_for(tools, feed)),
        lambda: [*(before or system), user(text)],
    )


def retry(session: ChatSession, turn: Turn, tools: ChatTools | None) -> Question:
    """Another answer beside an answer, or the first one to a message."""
    parent = turn.id if turn.message["role"] in ("user", "tool") else turn.parent
    return Question(
        lambda overflow, feed: session.retry(turn.id, overflow=overflow, tools=tools_for(tools, feed)),
        lambda: session.messages(parent),
    )


def resume(session: ChatSession, turn: Turn) -> Question:
    """An answer beside a partial one that goes on where that was cut off."""
    return Question(
        lambda overflow, feed: session.resume(turn.id, overflow=overflow),
        lambda: session.messages(turn.id),
        begun=text_of(turn.message),
    )


def answer(console: Console, question: Question, overflow: Overflow, consent: Consent) -> Feed:
    """Draw an answer. A model's failure in the middle of it is in its turn.

    Args:
        console: a terminal.
        question: what is answered.
        overflow: what to do when it does not fit.
        consent: asks the person whether a call of a tool may be made.

    Raises:
        WhetstoneError: it could not be asked for, or not be kept.
    """
    feed = Feed(lambda feed: question.begin(overflow, feed))
    try:
        draw(console, feed.events(), consent, "; /reasoning shows it", question.begun)
    except ModelError:
        if feed.answer is None:
            raise
    return feed


def draw(console: Console, events: Iterator[FeedEvent], consent: Consent, hint: str = "", begun: str = "") -> None:
    """Draw what happens in an answer, and have a person consent to calls.

    Args:
        console: a terminal.
        events: of a feed.
        consent: asks the person whether a call may be made.
        hint: what to say behind the line that reasoning is folded to.
        begun: text that the answer begins with.
    """
    while (event := _draw_text(console, events, hint, begun)) is not None:
        begun = ""
        if isinstance(event, Called):
            show_call(console, event.call)
        elif isinstance(event, Returned):
            show_returned(console, event)
        else:
            event.answer(consent(event.call))


def _draw_text(
    console: Console, events: Iterator[FeedEvent], hint: str, begun: str
) -> Called | Returned | ConsentAsked | None:
    """Draw chunks until something else happens; None at the end."""
    with without_echo(), AnswerDisplay(console, hint) as display:
        if begun:
            display.add(Chunk(text=begun))
        for event in events:
            if not isinstance(event, Chunk):
                return event
            display.add(event)
    return None


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
