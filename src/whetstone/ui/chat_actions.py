"""What happens in the Chat tab: each action changes the page's state or begins an answer, then shows what is so now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from whetstone.chat.answer import Answer
from whetstone.chat.context import DoesNotFitError, Overflow, measure
from whetstone.chat.session import ChatSession
from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError, WhetstoneError
from whetstone.models.pool import ModelPool
from whetstone.types import Options, system, user
from whetstone.ui import notices, panels, thread
from whetstone.ui.chat_view import ChatView, Updates
from whetstone.ui.meter import meter_html
from whetstone.ui.page import PAGE_OF_CONVERSATIONS, SHOWN_ALTERNATIVES, Page, Settings
from whetstone.ui.running import Running, RunningAnswers

FOLLOW_SECONDS = 0.06  # between two looks at an answer that is written here
ELSEWHERE_SECONDS = 0.5  # at one that another program writes to the store

NOTHING: Updates = gr.skip()  # changes no widget

log = logging.getLogger(__name__)

# Begins answers in a session; also a sentence about what could not be begun beside them, or "".
Starter = Callable[[ChatSession, Settings, Overflow], tuple[tuple[Running, ...], str]]


class ChatActions:
    """The actions. One instance serves all browser tabs: what differs between them is in their `Page`."""

    def __init__(self, pool: ModelPool, store: ConversationStore, running: RunningAnswers, view: ChatView) -> None:
        self._pool = pool
        self._store = store
        self._running = running
        self._view = view
        self._do: dict[str, Callable[[Page, Settings, Mapping[str, Any]], Iterator[Updates]]] = {
            "again": self._again,
            "branch": self._branch,
            "continue": self._continue,
            "delete": self._delete,
            "dismiss": self._dismiss,
            "doing": self._doing,
            "edit": self._edit,
            "more": self._more,
            "open": self._open,
            "panel": self._panel,
            "pick": self._pick,
            "rename": self._rename,
            "resume": self._resume,
            "retry": self._retry,
            "version": self._version,
        }

    # What the widgets call.

    def load(self, page: Page, address: str) -> Updates:
        """The page was opened or reloaded; `address` is the conversation that its address names, "" for none."""
        if address:
            return self._opened(page, address)
        return {**self._view.all(page), self._view.widgets.notice: ""}

    def new(self, page: Page) -> Updates:
        """Begin a conversation."""
        page.conversation, page.panel, page.doing, page.again = None, None, "", None
        return {**self._view.all(page), self._view.widgets.notice: ""}

    def search(self, page: Page, words: str) -> str:
        """List the conversations in which something was said."""
        page.search, page.listed = words or "", PAGE_OF_CONVERSATIONS
        return self._view.sidebar(page)

    def send(self, page: Page, text: str, *values: Any) -> Iterator[Updates]:
        """Say something."""
        if not text.strip():
            yield {self._view.widgets.notice: notices.said("Nothing was sent: write a message first.")}
            return
        yield from self._begin(page, Settings(*values), _ask(text), said=text)

    def stop(self, page: Page) -> None:
        """Stop the engine; whoever follows the answer shows what came of it."""
        self._running.stop(page.conversation)

    def act(self, event: gr.EventData, page: Page, text: str, *values: Any) -> Iterator[Updates]:
        """Something was clicked inside our own HTML; what arrives is not trusted to be well formed."""
        carried = event._data if isinstance(event._data, Mapping) else {}
        action = self._do.get(str(carried.get("do")))
        yield NOTHING
        if action is None:
            return
        try:
            yield from action(page, Settings(*values), carried)
        except WhetstoneError as error:
            yield self._failed(page, str(error), again=False)
        except Exception as error:
            yield self._broken(page, error)

    async def follow(self, page: Page) -> AsyncIterator[Updates]:
        """Show an answer as it grows, until it ends or the page turns to something else."""
        page.follower += 1
        this, conversation = page.follower, page.conversation

        def is_current() -> bool:
            return page.follower == this and page.conversation == conversation

        yield NOTHING  # Gradio empties the widgets of a generator that ends without a word
        version = -1
        while is_current() and (answers := self._running.of(conversation)):
            if (arrived := sum(answer.version for answer in answers)) != version:
                version = arrived
                yield {self._view.widgets.live: self._view.live(answers)}
            await asyncio.sleep(FOLLOW_SECONDS)
        while is_current() and await asyncio.to_thread(self._is_written_elsewhere, conversation):
            yield await asyncio.to_thread(self._view.conversation, page)
            page.shows_writing = True
            await asyncio.sleep(ELSEWHERE_SECONDS)
        if is_current() and page.shows_writing:
            yield await asyncio.to_thread(self._view.all, page)

    def meter(self, page: Page, text: str, *values: Any) -> str:
        """How much of the context is taken, if `text` were sent now."""
        settings = Settings(*values)
        try:
            model = self._pool.get(settings.model or self._pool.default)
            options = settings.options()
            if page.conversation is None:
                told = [system(settings.system)] if settings.system else []
                return meter_html(measure(model, [*told, user(text)], options))
            session = self._session(page, settings)
            return meter_html(session.use(text))
        except WhetstoneError as error:
            return notices.said(f"Context: not known ({error})")

    def bring_in(self, page: Page, path: str | None, model: str | None) -> Updates:
        """Import the conversations of a file, which go on with `model`."""
        from whetstone.chat.transfer import import_conversations

        if path is None:
            return NOTHING
        try:
            report = import_conversations(self._store, Path(path), model or self._pool.default)
        except WhetstoneError as error:
            # The sentence names the file where Gradio has put it, which means nothing to the person.
            words = str(error).replace(str(Path(path)), Path(path).name)
            return {**self._view.all(page), self._view.widgets.notice: notices.failed(words, again=False)}
        finally:
            Path(path).unlink(missing_ok=True)
        opened = self._opened(page, report.added[0]) if report.added else self._view.all(page)
        return {**opened, self._view.widgets.notice: notices.said(f"{report}.")}

    # What buttons in our own HTML do.

    def _again(self, page: Page, _: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        again, page.again = page.again, None
        overflow = carried.get("overflow")
        if again is None:
            yield {self._view.widgets.notice: ""}
        else:
            yield from again(overflow if overflow in ("drop_oldest", "summarise") else "refuse")

    def _dismiss(self, page: Page, _: Settings, __: Mapping[str, Any]) -> Iterator[Updates]:
        page.again = None
        yield {self._view.widgets.notice: ""}

    def _panel(self, page: Page, _: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        index = str(carried.get("index"))
        panel = (str(carried.get("turn")), str(carried.get("panel")), int(index) if index.isdigit() else None)
        page.panel = None if not panel[1] or panel == page.panel else panel
        yield self._view.conversation(page)

    def _branch(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        self._session(page, settings).branch(str(carried.get("turn")))
        yield self._view.all(page)

    def _version(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        self._session(page, settings).open(str(carried.get("turn")))
        yield self._view.all(page)

    def _pick(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        self._session(page, settings).branch(str(carried.get("turn")))
        self._running.choose(page.conversation)
        yield self._view.all(page)

    def _retry(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        turn = str(carried.get("turn"))
        with_tokens = bool(carried.get("tokens"))

        def start(session: ChatSession, settings: Settings, overflow: Overflow) -> tuple[tuple[Running, ...], str]:
            options = session.conversation.options
            if with_tokens:
                options = options.model_copy(update={"top_logprobs": SHOWN_ALTERNATIVES})
            return (Running(session.retry(turn, options=options, overflow=overflow)),), ""

        yield from self._begin(page, settings, start)

    def _edit(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        turn, text = str(carried.get("turn")), str(carried.get("text"))

        def start(session: ChatSession, settings: Settings, overflow: Overflow) -> tuple[tuple[Running, ...], str]:
            return (Running(session.edit(turn, text, overflow=overflow)),), ""

        yield from self._begin(page, settings, start)

    def _resume(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        turn = str(carried.get("turn"))
        yield from self._begin(page, settings, _resume(turn, None, with_tokens=False))

    def _continue(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        turn = self._store.turn(str(carried.get("turn")))
        index, choice = int(carried["index"]), int(carried["choice"])
        tokens, given = self._running.tokens(turn.id)
        if not 0 <= index < len(tokens) or not 0 <= choice < len(tokens[index].top):
            raise UsageError("this token is no longer known: answer again with probabilities")
        before = panels.text_before(turn, tokens, given, index)
        if before is None:
            raise UsageError("this token is part of a character: the answer cannot go on from here")
        prefix = before + tokens[index].top[choice][0]
        yield from self._begin(page, settings, _resume(turn.id, prefix, with_tokens=True))

    def _open(self, page: Page, _: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        yield self._opened(page, str(carried.get("conversation")))

    def _doing(self, page: Page, _: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        page.doing = str(carried.get("doing"))
        yield {self._view.widgets.sidebar: self._view.sidebar(page)}

    def _more(self, page: Page, _: Settings, __: Mapping[str, Any]) -> Iterator[Updates]:
        page.listed += PAGE_OF_CONVERSATIONS
        yield {self._view.widgets.sidebar: self._view.sidebar(page)}

    def _rename(self, page: Page, _: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        title = " ".join(str(carried.get("text", "")).split())
        page.doing = ""
        if title and page.conversation is not None:
            self._store.update(page.conversation, title=title)
        yield {self._view.widgets.sidebar: self._view.sidebar(page)}

    def _delete(self, page: Page, _: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        conversation = str(carried.get("conversation"))
        self._running.stop(conversation)
        self._store.delete(conversation)
        yield self.new(page)

    # Beginning an answer.

    def _begin(
        self, page: Page, settings: Settings, start: Starter, *, overflow: Overflow = "refuse", said: str = ""
    ) -> Iterator[Updates]:
        """Begin answers, and show that they are under way.

        Args:
            said: what was written in the message field, which is emptied, and filled again when nothing can begin.
        """
        widgets = self._view.widgets
        if not page.beginning.acquire(blocking=False):
            yield NOTHING
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

    def _begun(self, page: Page, settings: Settings, start: Starter, overflow: Overflow, said: str) -> Updates:
        widgets = self._view.widgets
        kept = {widgets.box: said} if said else {}
        is_new = page.conversation is None
        remark = ""
        try:
            session = self._session(page, settings)
            answers, remark = start(session, settings, overflow)
            self._running.start(session.conversation.id, answers)
        except DoesNotFitError as error:
            notice = notices.does_not_fit(error, self._messages(page))
            outcome: Updates = {widgets.notice: notice, widgets.live: "", **kept}
        except WhetstoneError as error:
            outcome = {**self._failed(page, str(error), again=True), **kept}
        except Exception as error:
            outcome = {**self._broken(page, error), **kept}
        else:
            notice = notices.failed(remark, again=False) if remark else ""
            return {**self._view.all(page), widgets.notice: notice}
        page.again = lambda chosen: self._begin(page, settings, start, overflow=chosen, said=said)
        if is_new and page.conversation is not None:  # nothing was said in it
            self._store.delete(page.conversation)
            page.conversation = None
        return outcome

    def _session(self, page: Page, settings: Settings) -> ChatSession:
        """The open conversation, or a new one, with the settings as they are now."""
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

    def _messages(self, page: Page) -> list[Any]:
        """The messages that the indices of a DoesNotFitError point into; only earlier ones are ever dropped."""
        if page.conversation is None:
            return []
        return ChatSession(self._store, self._pool, self._store.get(page.conversation)).messages()

    def _opened(self, page: Page, id: str) -> Updates:
        try:
            conversation = self._store.get(id)
        except UsageError:
            words = notices.said("The conversation that was asked for does not exist any more.")
            return {**self.new(page), self._view.widgets.notice: words}
        page.conversation, page.panel, page.doing, page.again = conversation.id, None, "", None
        missing = self._view.missing_model(conversation)
        notice = notices.said(missing) if missing else ""
        return {**self._view.all(page), **self._view.settings(conversation), self._view.widgets.notice: notice}

    def _is_written_elsewhere(self, conversation: str | None) -> bool:
        if conversation is None:
            return False
        try:
            head = self._store.get(conversation).head
            return head is not None and self._store.turn(head).state == "streaming"
        except UsageError:  # deleted meanwhile
            return False

    def _failed(self, page: Page, words: str, *, again: bool) -> Updates:
        widgets = self._view.widgets
        return {widgets.notice: notices.failed(words, again=again), widgets.live: ""}

    def _broken(self, page: Page, error: Exception) -> Updates:
        log.error("an action of the workbench failed", exc_info=error)
        words = f"Whetstone made a mistake ({type(error).__name__}: {error}). The server's log tells more."
        return self._failed(page, words, again=True)


def _ask(text: str) -> Starter:
    def start(session: ChatSession, settings: Settings, overflow: Overflow) -> tuple[tuple[Running, ...], str]:
        first = session.ask(text, overflow=overflow)
        if not settings.second:
            return (Running(first),), ""
        try:
            second = _beside(session, first, settings.second, overflow)
        except WhetstoneError as error:
            return (Running(first),), f"The second model gives no answer: {error}"
        session.branch(first.turn.id)
        return (Running(first), Running(second)), ""

    return start


def _beside(session: ChatSession, first: Answer, model: str, overflow: Overflow) -> Answer:
    parent = first.turn.parent
    assert parent is not None
    return session.answer(parent, model=model, overflow=overflow)


def _resume(turn: str, prefix: str | None, *, with_tokens: bool) -> Starter:
    def start(session: ChatSession, settings: Settings, overflow: Overflow) -> tuple[tuple[Running, ...], str]:
        options = session.conversation.options
        if with_tokens:
            options = options.model_copy(update={"top_logprobs": SHOWN_ALTERNATIVES})
        answer = session.resume(turn, prefix=prefix, options=options, overflow=overflow)
        return (Running(answer, str(answer.turn.message["content"] or "")),), ""

    return start


def _settle(kept: Options, chosen: Options) -> Options:
    """The options of a conversation, with those that the page has widgets for as they are chosen."""
    names = ("temperature", "top_p", "max_tokens", "seed", "top_logprobs")
    changed = {name: getattr(chosen, name) for name in names}
    if chosen.top_logprobs is not None and kept.top_logprobs is not None:
        changed["top_logprobs"] = kept.top_logprobs
    return kept.model_copy(update=changed)
