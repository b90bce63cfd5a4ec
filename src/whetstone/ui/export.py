"""Conversations as files that the browser saves."""

from __future__ import annotations

import re
from collections.abc import Callable

from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError
from whetstone.ui.sidebar import title_of


def exporter(store: ConversationStore) -> Callable[[str, str], dict[str, str]]:
    """The function `export_conversation`, under which `act.js` calls it.

    It gives the open branch of a conversation as a file's name, text and media type, or a sentence under "error".
    """

    def export_conversation(id: str, form: str) -> dict[str, str]:
        from whetstone.chat.transfer import to_jsonl, to_markdown

        try:
            conversation = store.get(str(id))
            path = store.path(conversation.id)
        except UsageError as error:
            return {"error": str(error)}
        name = file_name(title_of(conversation))
        if form == "jsonl":
            return {"name": f"{name}.jsonl", "type": "application/jsonl", "text": to_jsonl(conversation, path)}
        return {"name": f"{name}.md", "type": "text/markdown", "text": to_markdown(conversation, path)}

    return export_conversation


def file_name(title: str) -> str:
    """A title as a file's name on any system: letters of any script, digits, dashes."""
    return re.sub(r"[\W_]+", "-", title).strip("-")[:60] or "conversation"
