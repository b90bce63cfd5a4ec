"""The tabs of the workbench. A new tab is one line here, and one module with a function like `chat_tab.build_chat`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.models.pool import ModelPool
from whetstone.tasks import CardShelf


class Workbench(gr.Blocks):
    """The page around all tabs.

    Attributes:
        own_user: nobody but the user who started the server can open it; where others can, a tab lets nobody name files
            and folders of the server.
        run_code: code that a model wrote may be run, contained.
        cards: the task cards that are offered.
    """

    def __init__(self, *, own_user: bool, run_code: bool, cards: CardShelf, **more: Any) -> None:
        super().__init__(**more)
        self.own_user = own_user
        self.run_code = run_code
        self.cards = cards


# Called inside its tab, to build what is in it.
BuildTab = Callable[[Workbench, ModelPool, ConversationStore], None]

# Name, and "module:function" of type BuildTab; in the order in which they stand.
TABS = (
    ("Chat", "whetstone.ui.chat_tab:build_chat"),
    ("Tasks", "whetstone.ui.tasks_tab:build_tasks"),
    ("Prompts", "whetstone.ui.prompts_tab:build_prompts"),
    ("Tokens", "whetstone.ui.tokens_tab:build_tokens"),
    ("Knowledge", "whetstone.ui.knowledge_tab:build_knowledge"),
    ("Price", "whetstone.ui.price_tab:build_price"),
    ("Tune", "whetstone.ui.tune_tab:build_tune"),
    ("Compare", "whetstone.ui.compare_tab:build_compare"),
)


def build_tab(where: str) -> BuildTab:
    """The function that builds a tab."""
    module, _, name = where.partition(":")
    built: BuildTab = getattr(import_module(module), name)
    return built
