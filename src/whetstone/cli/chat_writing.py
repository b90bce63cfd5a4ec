"""A conversation written to a file of the person's, as Markdown or as messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError
from whetstone.storage.files import write_atomically
from whetstone.types import Conversation


def write_conversation(
    store: ConversationStore, conversation: Conversation, name: str, overwrite: Callable[[str], bool]
) -> Path | None:
    """Write a conversation; its ending says as what.

    Args:
        store: where it is kept.
        conversation: which one.
        name: a file that ends in .md or .jsonl.
        overwrite: asked whether a file that exists may be replaced.

    Returns:
        The file; None if it was not to be replaced.

    Raises:
        UsageError: another ending.
        StorageError: it cannot be written.
    """
    from whetstone.chat.transfer import to_jsonl, to_markdown

    path = Path(name).expanduser()
    forms = {".md": to_markdown, ".jsonl": to_jsonl}
    if path.suffix not in forms:
        raise UsageError(f"{name}: the name must end in .md (to read), or in .jsonl (messages, to train on)")
    if path.exists() and not overwrite(name):
        return None
    write_atomically(path, forms[path.suffix](conversation, store.path(conversation.id)))
    return path
