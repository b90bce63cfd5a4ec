"""The tables of conversations, as the newest migration leaves them.

`title_folded` and `message_folded` hold the text in the form that `folded` gives, so that a search ignores case in any
script: SQLite by itself folds only ASCII, and PostgreSQL what its locale knows.
"""

from __future__ import annotations

import re
import unicodedata

import sqlalchemy as sa

from whetstone.storage.columns import AnyText, Json, Moment

metadata = sa.MetaData()

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("title", AnyText, nullable=False),
    sa.Column("title_folded", sa.Text, nullable=False),
    sa.Column("model", AnyText, nullable=False),
    sa.Column("system", AnyText, nullable=False),
    sa.Column("options", Json, nullable=False),
    sa.Column("head", sa.Text),
    sa.Column("created", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),
    sa.Index("conversations_by_updated", "updated", "id"),
)

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("conversation", sa.Text, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    # No CASCADE: turns go with their conversation, and SQLite cascades through a thousand levels at most.
    sa.Column("parent", sa.Text, sa.ForeignKey("turns.id")),
    sa.Column("message", Json, nullable=False),
    sa.Column("message_folded", sa.Text, nullable=False),
    sa.Column("reasoning", AnyText, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("error", AnyText, nullable=False),
    sa.Column("created", Moment, nullable=False),
    sa.Column("writer", AnyText),  # the process that writes it, while the state is "streaming"
    sa.Column("heartbeat", sa.Double),  # when it last said so, in seconds of the database's own clock
    # Of an answer by a model: the fields of `Origin`.
    sa.Column("model_spec", AnyText),
    sa.Column("model_engine", AnyText),
    sa.Column("model_name", AnyText),
    sa.Column("model_revision", AnyText),
    sa.Column("model_template", AnyText),
    sa.Column("options", Json),
    sa.Column("prompt_hash", sa.Text),
    sa.Column("system", AnyText),
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("completion_tokens", sa.BigInteger),
    sa.Column("cached_tokens", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("first_token_seconds", sa.Double),
    sa.Column("cost", sa.Double),
    sa.Column("finish_reason", sa.Text),
    sa.Index("turns_by_conversation", "conversation", "id"),
    sa.Index("turns_by_parent", "parent"),
    sa.Index("turns_by_prompt", "prompt_hash"),
)

# Addressed by the sha256 of the text, as a prompt is sent again and again; zlib makes a chat prompt a third as long.
prompts = sa.Table(
    "prompts",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("text", sa.LargeBinary, nullable=False),
)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def folded(text: str) -> str:
    """The form in which texts are compared: without case, and with one spelling of each character (Hangul, accents)."""
    if text.isascii():  # most are, and this is ten times as fast
        return text.lower().replace("\x00", "\ufffd")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _UNSTORABLE.sub("\ufffd", text)).casefold())
