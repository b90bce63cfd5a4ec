"""Beginning an answer: what every way to ask has in common, from the settings to what is said when it cannot begin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from whetstone.chat.answer import Answering
from whetstone.chat.context import DoesNotFitError, Overflow
from whetstone.chat.session import ChatSession
from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError, WhetstoneError
from whetstone.models.base import answers_apart
from whetstone.models.pool import ModelPool
from whetstone.types import Message, Options
from whetstone.ui import notices, thread
from whetstone.ui.apart import why_no_chat
from whetstone.ui.chat_view import ChatView, Updates
from whetstone.ui.page import NUMBERS, SHOWN_ALTERNATIVES, Page, Settings
from whetstone.ui.running import Running, RunningAnswers

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Begun:
    """Answers that have begun, and a sentence about one that could not begin beside them."""

    answers: tuple[Answering, ...]
    refused: str = ""

    def remarks(self) -> str:
        """What must be said about them: what could not begin, and what was left out of which request."""
        names = ("this",) if len(self.answers) == 1 else ("the first", "the second")
        said = [self.refused] if self.refused else []
        for name, answer in zip(names, self.answers, strict=True):
            if dropped := len(answer.fitting.dropped):
                how = "summarised for" if answer.fitting.summary else "left out of"
                said.append(f"The {dropped} oldest messages were {how} {name} request.")
        return " ".join(said)


Starter = Callable[[ChatSession, Settings, Overflow], Begun]


def ask(text: str) -> Starter:
    """Say something; with a second model or a second system prompt, a second answer is asked for beside the first."""

    def start(session: ChatSession, settings: Settings, overflow: Overflow) -> Begun:
        first = session.ask(text, overflow=overflow)
        own = settings.own_prompt()
        if not settings.second and own is None:
            return Begun((first,))
        parent = first.turn.parent
        assert parent is not None  # an answer follows what was said
        try:
            second = session.answer(parent, model=settings.second or None, system=own, overflow=overflow)
        except WhetstoneError as error:
            return Begun((first,), f"There is no second answer: {error}")
        session.branch(first.turn.id)  # the first one's stays open until somebody picks
        return Begun((first, second))

    return start


def edit(turn: str, text: str) -> Starter:
    """Say something else instead."""
    return lambda session, _, overflow: Begun((session.edit(turn, text, overflow=overflow),))


def retry(turn: str, *, with_tokens: bool) -> Starter:
    """Answer once more."""

    def start(session: ChatSession, _: Settings, overflow: Overflow) -> Begun:
        return Begun((session.retry(turn, options=_options(session, with_tokens), overflow=overflow),))

    return start


def resume(turn: str, prefix: str | None, *, with_tokens: bool) -> Starter:
    """Go on with an answer, or with `prefix` in its place."""

    def start(session: ChatSession, _: Settings, overflow: Overflow) -> Begun:
        options = _options(session, with_tokens)
        return Begun((session.resume(turn, prefix=prefix, options=options, overflow=overflow),))

    return start


def _options(session: ChatSession, with_tokens: bool) -> Options:
    options = session.conversation.options
    return options.model_copy(update={"top_logprobs": SHOWN_ALTERNATIVES}) if with_tokens else options


class Beginner:
    """Begins answers for all pages."""

    def __init__(self, pool: ModelPool, store: ConversationStore, running: RunningAnswers, view: ChatView) -> None:
        self._pool = pool
        self._store = store
        self._running = running
        self._view = view

    def begin(
        self, page: Page, settings: Settings, start: Starter, *, overflow: Overflow = "refuse", said: str = ""
    ) -> Iterator[Updates]:
        """Begin answers, and show that they are under way.

        Args:
            said: what was written in the message field, which is emptied, and filled again when nothing can begin.
        """
        widgets = self._view.widgets
        if not page.beginning.acquire(blocking=False):  # a second click, while the first one loads a model
            return
        try:
            if self._running.of(page.conversation):
                yield {widgets.notice: notices.said("An answer is being written: stop it first, or wait for its end.")}
                return
            page.panel, page.again = None, None
            yield {
                widgets.live: thread.waiting_html(said, "Preparing"),
                widgets.notice: "",
                **({widgets.box: ""} if said else {}),
            }
            yield self._begun(page, settings, start, overflow, said)
        finally:
            page.beginning.release()

    def session(self, page: Page, settings: Settings) -> ChatSession:
        """The open conversation, or a new one, with the settings as they are now.

        Raises:
            UsageError: a setting is wrong, or the conversation does not exist any more.
        """
        model = settings.model or self._pool.default
        told = settings.system or ""
        if page.conversation is None:
            conversation = self._store.create(model=model, system=told, options=settings.options())
            page.conversation = conversation.id
        else:
            conversation = self._store.get(page.conversation)
            options = _settle(conversation.options, settings.options())
            if (conversation.model, conversation.system, conversation.options) != (model, told, options):
                conversation = self._store.update(conversation.id, model=model, system=told, options=options)
        return ChatSession(self._store, self._pool, conversation)

    def failed(self, words: str, *, again: bool = False) -> Updates:
        """Say that something could not be done."""
        return {self._view.widgets.notice: notices.failed(words, again=again), self._view.widgets.live: ""}

    def broken(self, error: Exception, *, again: bool = False) -> Updates:
        """Say that we made a mistake."""
        log.error("an action of the workbench failed", exc_info=error)
        words = f"Whetstone made a mistake ({type(error).__name__}: {error}). The server's log tells more."
        return self.failed(words, again=again)

    def _begun(self, page: Page, settings: Settings, start: Starter, overflow: Overflow, said: str) -> Updates:
        is_new = page.conversation is None
        try:
            self._refuse_apart(settings)
            session = self.session(page, settings)
            begun = start(session, settings, overflow)
        except DoesNotFitError as error:
            widgets = self._view.widgets
            notice = notices.does_not_fit(error, self._messages(page))
            outcome: Updates = {widgets.notice: notice, widgets.live: ""}
        except WhetstoneError as error:
            outcome = self.failed(str(error), again=True)
        except Exception as error:
            outcome = self.broken(error, again=True)
        else:
            self._running.start(session.conversation.id, tuple(Running(answer) for answer in begun.answers))
            return {**self._view.all(page), self._view.widgets.notice: _notice(begun)}
        page.again = lambda chosen: self.begin(page, settings, start, overflow=chosen, said=said)
        if is_new and page.conversation is not None:  # nothing was said in it
            self._store.delete(page.conversation)
            page.conversation = None
        return {**outcome, **({self._view.widgets.box: said} if said else {})}

    def _refuse_apart(self, settings: Settings) -> None:
        """Raises UsageError where one of the models is none to chat with."""
        for name in filter(None, (settings.model or self._pool.default, settings.second)):
            if answers_apart(self._pool.get(name)):
                raise UsageError(why_no_chat(name))

    def _messages(self, page: Page) -> list[Message]:
        """The messages that the indices of a DoesNotFitError point into; only earlier ones are ever dropped."""
        if page.conversation is None:
            return []
        return ChatSession(self._store, self._pool, self._store.get(page.conversation)).messages()


def _notice(begun: Begun) -> str:
    remarks = begun.remarks()
    if begun.refused:
        return notices.failed(remarks, again=False)
    return notices.said(remarks) if remarks else ""


def _settle(kept: Options, chosen: Options) -> Options:
    """The options of a conversation, with those that the page has widgets for as they are chosen."""
    changed = {name: getattr(chosen, name) for name in NUMBERS}
    if (chosen.top_logprobs is None) != (kept.top_logprobs is None):  # the page says whether, not how many
        changed["top_logprobs"] = chosen.top_logprobs
    return kept.model_copy(update=changed)
