"""What happens in the Chat tab: each action changes the page's state or begins an answer, then shows what is so now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from whetstone.chat.context import measure
from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError, WhetstoneError
from whetstone.models.base import answers_apart
from whetstone.models.pool import ModelPool
from whetstone.types import opening, user
from whetstone.ui import chat_begin, notices, panels
from whetstone.ui.apart import why_no_chat
from whetstone.ui.chat_begin import Beginner
from whetstone.ui.chat_view import ChatView, Updates
from whetstone.ui.meter import meter_html
from whetstone.ui.page import PAGE_OF_CONVERSATIONS, Page, Settings
from whetstone.ui.running import Running, RunningAnswers

FOLLOW_SECONDS = 0.06  # between two looks at an answer that is written here
ELSEWHERE_SECONDS = 0.5  # at one that another program writes to the store
NOTHING: Updates = gr.skip()  # changes no widget; Gradio empties the widgets of a generator that ends without a word


class ChatActions:
    """The actions. One instance serves all browser tabs: what differs between them is in their `Page`."""

    def __init__(self, pool: ModelPool, store: ConversationStore, running: RunningAnswers, view: ChatView) -> None:
        self._pool = pool
        self._store = store
        self._running = running
        self._view = view
        self._beginner = Beginner(pool, store, running, view)
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
        return self._told(lambda: self._opened(page, address) if address else self._closed(page))

    def models(self, page: Page) -> Updates:
        """Somebody looks at a list of models."""
        return self._view.models(page) or NOTHING

    def beside(self, page: Page, asked: str) -> Updates:
        """The address asks for these models, a JSON list of the first and the second one; "" for none."""
        try:
            first, second = map(str, json.loads(asked or "[]"))
        except (ValueError, TypeError):
            return NOTHING
        return self._view.beside(page, first, second) or NOTHING

    def new(self, page: Page) -> Updates:
        """Begin a conversation."""
        return self._told(lambda: self._closed(page))

    def search(self, page: Page, words: str) -> Updates:
        """List the conversations in which something was said."""
        page.search, page.listed = words or "", PAGE_OF_CONVERSATIONS
        return self._told(lambda: {self._view.widgets.sidebar: self._view.sidebar(page)})

    def send(self, page: Page, text: str, *values: Any) -> Iterator[Updates]:
        """Say something."""
        if not text.strip():
            yield {self._view.widgets.notice: notices.said("Nothing was sent: write a message first.")}
            return
        yield from self._each_told(self._beginner.begin(page, Settings(*values), chat_begin.ask(text), said=text))

    def stop(self, page: Page) -> None:
        """Stop the engine; whoever follows the answer shows what came of it."""
        self._running.stop(page.conversation)

    def act(self, event: gr.EventData, page: Page, text: str, *values: Any) -> Iterator[Updates]:
        """Something was clicked inside our own HTML; what arrives is not trusted to be well formed."""
        carried = event._data if isinstance(event._data, Mapping) else {}
        action = self._do.get(str(carried.get("do")))
        if action is None:
            yield NOTHING
            return
        yield from self._each_told(action(page, Settings(*values), carried))

    async def follow(self, page: Page) -> AsyncIterator[Updates]:
        """Show an answer as it grows, until it ends or the page turns to something else."""
        page.follower += 1
        this, conversation = page.follower, page.conversation

        def is_current() -> bool:
            return page.follower == this and page.conversation == conversation

        yield NOTHING
        try:
            version = -1
            last: tuple[Running, ...] = ()
            while is_current() and (answers := self._running.of(conversation)):
                last = answers
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
            for failure in [answer.failure for answer in last if answer.failure]:
                yield self._beginner.failed(failure)
        except WhetstoneError as error:
            yield self._beginner.failed(str(error))

    def meter(self, page: Page, text: str, *values: Any) -> str:
        """How much of the context is taken, if `text` were sent now."""
        settings = Settings(*values)
        try:
            name = settings.model or self._pool.default
            model = self._pool.get(name)
            if answers_apart(model):
                return notices.said(why_no_chat(name))
            options = settings.options()
            if page.conversation is None:
                return meter_html(measure(model, [*opening(settings.system or ""), user(text)], options))
            return meter_html(self._beginner.session(page, settings).use(text))
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
        self._beginner.session(page, settings).branch(str(carried.get("turn")))
        yield self._view.all(page)

    def _version(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        self._beginner.session(page, settings).open(str(carried.get("turn")))
        yield self._view.all(page)

    def _pick(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        self._beginner.session(page, settings).branch(str(carried.get("turn")))
        self._running.choose(page.conversation)
        yield self._view.all(page)

    def _retry(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        start = chat_begin.retry(str(carried.get("turn")), with_tokens=bool(carried.get("tokens")))
        return self._beginner.begin(page, settings, start)

    def _edit(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        start = chat_begin.edit(str(carried.get("turn")), str(carried.get("text", "")))
        return self._beginner.begin(page, settings, start)

    def _resume(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        start = chat_begin.resume(str(carried.get("turn")), None, with_tokens=False)
        return self._beginner.begin(page, settings, start)

    def _continue(self, page: Page, settings: Settings, carried: Mapping[str, Any]) -> Iterator[Updates]:
        turn = self._store.turn(str(carried.get("turn")))
        tokens, given = self._running.tokens(turn.id)
        numbers = [str(carried.get(name)) for name in ("index", "choice")]
        index, choice = (int(number) if number.isdigit() else len(tokens) for number in numbers)
        if not 0 <= index < len(tokens) or not 0 <= choice < len(tokens[index].top):
            raise UsageError("this token is no longer known: answer again with probabilities")
        before = panels.text_before(turn, tokens, given, index)
        if before is None:
            raise UsageError("this token is part of a character: the answer cannot go on from here")
        prefix = before + tokens[index].top[choice][0]
        start = chat_begin.resume(turn.id, prefix, with_tokens=True)
        yield from self._beginner.begin(page, settings, start)

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
        yield self._closed(page)

    # What they have in common.

    def _closed(self, page: Page) -> Updates:
        """No conversation is open: the next message begins one."""
        page.conversation, page.panel, page.doing, page.again = None, None, "", None
        return {**self._view.all(page), self._view.widgets.notice: ""}

    def _opened(self, page: Page, id: str) -> Updates:
        try:
            conversation = self._store.get(id)
        except UsageError:
            words = notices.said("The conversation that was asked for does not exist any more.")
            return {**self._closed(page), self._view.widgets.notice: words}
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

    def _told(self, do: Callable[[], Updates]) -> Updates:
        """What an action shows, or the sentence of its failure."""
        return next(self._each_told(do() for _ in range(1)))

    def _each_told(self, steps: Iterator[Updates]) -> Iterator[Updates]:
        shown = False
        try:
            for step in steps:
                yield step
                shown = True
        except WhetstoneError as error:
            yield self._beginner.failed(str(error))
        except Exception as error:
            yield self._beginner.broken(error)
        else:
            if not shown:
                yield NOTHING
