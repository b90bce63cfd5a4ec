"""The list of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whetstone.types import Conversation
from whetstone.ui.controls import button


def sidebar_html(
    conversations: Sequence[Conversation], open_one: str | None, doing: str, search: str, more: bool
) -> str:
    """The conversations, newest first; below the open one, what can be done with it.

    Args:
        conversations: those to list.
        open_one: id of the one that is open.
        doing: "rename" or "delete" while the person is asked about the open one, else "".
        search: what was searched for.
        more: there are more than are listed.
    """
    if not conversations:
        return f'<p class="wh-empty">{"Nothing found." if search else "No conversations yet."}</p>'
    items = "".join(_item(conversation, conversation.id == open_one, doing) for conversation in conversations)
    rest = button("Show more", "more") if more else ""
    return f'<nav class="wh-list" aria-label="Conversations"><ul>{items}</ul>{rest}</nav>'


def title_of(conversation: Conversation) -> str:
    """Its title, or words that stand for one."""
    return conversation.title.strip() or "Untitled"


def _item(conversation: Conversation, is_open: bool, doing: str) -> str:
    title = title_of(conversation)
    current = ' aria-current="true"' if is_open else ""
    opener = (
        f'<button type="button" class="wh-open" data-do="open" data-conversation="{escape(conversation.id)}"{current} '
        f'title="{escape(title)}">{escape(title)}</button>'
    )
    return f"<li>{opener}{_actions(conversation, title, doing) if is_open else ''}</li>"


def _actions(conversation: Conversation, title: str, doing: str) -> str:
    its = conversation.id
    if doing == "rename":
        return (
            '<div class="wh-actions"><input type="text" data-field="text" data-focus '
            f'aria-label="New title" value="{escape(title)}">'
            f"{button('Save', 'rename', conversation=its, kind='wh-strong')}{button('Cancel', 'doing', doing='')}</div>"
        )
    if doing == "delete":
        return (
            '<div class="wh-actions" role="alertdialog" aria-label="Delete this conversation?">'
            "<span>Delete it for good?</span>"
            f"{button('Delete', 'delete', conversation=its, kind='wh-danger')}"
            f'<button type="button" class="wh-button" data-do="doing" data-doing="" data-focus>Keep</button></div>'
        )
    return (
        '<div class="wh-actions">'
        + button("Rename", "doing", doing="rename")
        + button("Delete", "doing", doing="delete")
        + button(".md", "download", title="Export as Markdown", conversation=its, format="markdown")
        + button(".jsonl", "download", title="Export as messages JSONL", conversation=its, format="jsonl")
        + "</div>"
    )
