"""What the Chat tab shows of a page's state: from the store and the answers under way to the widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from whetstone.chat import tree
from whetstone.chat.store import ConversationStore
from whetstone.models import parse_spec
from whetstone.models.pool import ModelPool
from whetstone.types import Conversation, Turn
from whetstone.ui import panels, thread
from whetstone.ui.page import NUMBERS, Page
from whetstone.ui.running import Running, RunningAnswers
from whetstone.ui.sidebar import sidebar_html

Updates = dict[Any, Any]  # widget -> its new value, or what changes about it


@dataclass(frozen=True, slots=True)
class Widgets:
    """The widgets of the Chat tab. `settings` are in the order of `page.Settings`."""

    page: gr.State
    address: gr.Textbox
    thread: gr.HTML
    live: gr.HTML
    notice: gr.HTML
    meter: gr.HTML
    sidebar: gr.HTML
    box: gr.Textbox
    send: gr.Button
    stop: gr.Button
    search: gr.Textbox
    settings: tuple[gr.components.Component, ...]


class ChatView:
    """Turns a page's state into updates of the widgets."""

    def __init__(self, pool: ModelPool, store: ConversationStore, running: RunningAnswers, widgets: Widgets) -> None:
        self._pool = pool
        self._store = store
        self._running = running
        self.widgets = widgets

    def all(self, page: Page) -> Updates:
        """Everything but the meter, the notice and the settings."""
        return {**self.conversation(page), self.widgets.sidebar: self.sidebar(page)}

    def sidebar(self, page: Page) -> str:
        """The list of conversations."""
        found = self._store.list(page.search, limit=page.listed + 1)
        more = len(found) > page.listed
        return sidebar_html(found[: page.listed], page.conversation, page.doing, page.search, more)

    def conversation(self, page: Page) -> Updates:
        """The thread, what is being written, and the buttons that go with it."""
        answers = self._running.of(page.conversation)
        page.shows_writing = bool(answers)
        return {
            self.widgets.thread: self._thread(page, answers),
            self.widgets.live: self.live(answers),
            self.widgets.send: gr.update(visible=not answers),
            self.widgets.stop: gr.update(visible=bool(answers)),
        }

    def models(self, page: Page) -> Updates:
        """The lists of models, where they are not what is offered now: a knowledge base may have been made."""
        names = tuple(self._pool.offered)
        if names == page.models:
            return {}
        page.models = names
        first, second, *_ = self.widgets.settings
        return {
            first: gr.update(choices=[(name, name) for name in names]),
            second: gr.update(choices=[("None", ""), *((name, name) for name in names)]),
        }

    def beside(self, page: Page, first: str, second: str) -> Updates:
        """Two models side by side; those that are not offered change nothing."""
        names = tuple(self._pool.offered)
        page.models = names
        lists = zip(self.widgets.settings[:2], (first, second), ([], [("None", "")]), strict=True)
        return {
            widget: gr.update(choices=[*none, *((name, name) for name in names)], value=name)
            for widget, name, none in lists
            if name in names
        }

    def live(self, answers: Sequence[Running]) -> str:
        """The answers that are being written here."""
        articles = [thread.live_html(answer.turn, answer.text, answer.reasoning, self._names) for answer in answers]
        return thread.columns(articles) if len(articles) > 1 else "".join(articles)

    def settings(self, conversation: Conversation) -> Updates:
        """The settings that a conversation goes on with. A model that is not offered gives way to the default."""
        options = conversation.options
        model = conversation.model if self._offers(conversation.model) else self._pool.default
        values = (
            gr.update(value=model, choices=[(name, name) for name in self._pool.offered]),
            gr.skip(),
            conversation.system,
            gr.skip(),
            gr.skip(),
            *("" if (value := getattr(options, name)) is None else str(value) for name in NUMBERS),
            options.top_logprobs is not None,
        )
        return dict(zip(self.widgets.settings, values, strict=True))

    def missing_model(self, conversation: Conversation) -> str:
        """The sentence for a conversation whose model is not offered; "" when it is."""
        if self._offers(conversation.model):
            return ""
        return (
            f"This conversation was held with {conversation.model}, which is not offered here: "
            f"{self._pool.default} answers from now on."
        )

    @property
    def _names(self) -> dict[str, str]:
        return {str(parse_spec(spec)): name for name, spec in self._pool.offered.items()}

    def _offers(self, model: str) -> bool:
        return model in self._pool.offered or self._pool.any_spec

    def _thread(self, page: Page, answers: Sequence[Running]) -> str:
        if page.conversation is None:
            return thread.thread_html(thread.Thread())
        head = self._store.get(page.conversation).head
        turns = self._store.turns(page.conversation)
        path = tree.path_to(turns, head)
        live = {answer.turn_id for answer in answers}
        pair: tuple[Turn, ...] = ()
        chosen = self._running.pair(page.conversation)
        if not live and path and path[-1].id in chosen:
            pair = tuple(turn for turn in turns if turn.id in chosen)
        path = [turn for turn in path if turn.id not in live]
        versions: dict[str | None, list[str]] = {}
        for turn in turns:
            versions.setdefault(turn.parent, []).append(turn.id)
        shown = thread.Thread(
            conversation=page.conversation,
            turns=path,
            versions={turn.id: versions[turn.parent] for turn in path if turn not in pair},
            panels=self._panels(page, [*path, *pair], bool(live)),
            pair=pair,
            busy=bool(live),
            names=self._names,
            goes_on=bool(path) and not live and path[-1].id in versions,
        )
        return thread.thread_html(shown)

    def _panels(self, page: Page, turns: Sequence[Turn], busy: bool) -> dict[str, str]:
        if page.panel is None:
            return {}
        id, kind, index = page.panel
        turn = next((turn for turn in turns if turn.id == id), None)
        if turn is None:
            return {}
        if kind == "edit":
            return {id: panels.edit_panel(turn)}
        if kind == "prompt" and turn.origin is not None:
            return {id: panels.prompt_panel(turn, self._store.prompt(turn.origin.prompt_hash))}
        if kind == "tokens":
            tokens, prefix = self._running.tokens(id)
            return {id: panels.tokens_panel(turn, tokens, prefix, index, busy=busy)}
        return {}
