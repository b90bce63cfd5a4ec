"""Conversations as files that the browser saves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from whetstone.chat.store import ConversationStore
from whetstone.errors import WhetstoneError
from whetstone.ui.sidebar import title_of


def exporter(store: ConversationStore) -> Callable[[Any], dict[str, str]]:
    """The function `export_conversation`, under which `act.js` calls it.

    It takes `{conversation: id, format: "markdown" or "jsonl"}`, since Gradio hands over one value, and gives the
    open branch as a file's name, text and media type, or a sentence under "error".
    """

    def export_conversation(asked: Any) -> dict[str, str]:
        from whetstone.chat.transfer import to_jsonl, to_markdown

        try:
            asked = asked if isinstance(asked, Mapping) else {}
            conversation = store.get(str(asked.get("conversation")))
            path = store.path(conversation.id)
        except WhetstoneError as error:
            return {"error": str(error)}
        name = file_name(title_of(conversation))
        if asked.get("format") == "jsonl":
            return {"name": f"{name}.jsonl", "type": "application/jsonl", "text": to_jsonl(conversation, path)}
        return {"name": f"{name}.md", "type": "text/markdown", "text": to_markdown(conversation, path)}

    return export_conversation


def file_name(title: str) -> str:
    """A title as a file's name on any system: letters of any script, digits, dashes."""
    return re.sub(r"[\W_]+", "-", title).strip("-")[:60] or "conversation"
