"""The tabs of the workbench. A new tab is one line here, and one module with a function like `chat_tab.build_chat`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.models.pool import ModelPool

# Called inside its tab, to build what is in it; the first argument is the page around all tabs.
BuildTab = Callable[[gr.Blocks, ModelPool, ConversationStore], None]

# Name, and "module:function" of type BuildTab; in the order in which they stand.
TABS = (("Chat", "whetstone.ui.chat_tab:build_chat"), ("Tokens", "whetstone.ui.tokens_tab:build_tokens"))


def build_tab(where: str) -> BuildTab:
    """The function that builds a tab."""
    module, _, name = where.partition(":")
    built: BuildTab = getattr(import_module(module), name)
    return built
