"""Conversations, their turns, and the prompts that were sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("title_folded", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("head", sa.Text),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("conversations_by_updated", "conversations", ["updated", "id"])
    op.create_table(
        "turns",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("conversation", sa.Text, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        # No CASCADE: turns go with their conversation, and SQLite cascades through a thousand levels at most.
        sa.Column("parent", sa.Text, sa.ForeignKey("turns.id")),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("message_folded", sa.Text, nullable=False),
        sa.Column("reasoning", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("writer", sa.Text),
        sa.Column("heartbeat", sa.Double),
        sa.Column("model_spec", sa.Text),
        sa.Column("model_engine", sa.Text),
        sa.Column("model_name", sa.Text),
        sa.Column("model_revision", sa.Text),
        sa.Column("model_template", sa.Text),
        sa.Column("options", sa.Text),
        sa.Column("prompt_hash", sa.Text),
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("completion_tokens", sa.BigInteger),
        sa.Column("cached_tokens", sa.BigInteger),
        sa.Column("seconds", sa.Double),
        sa.Column("first_token_seconds", sa.Double),
        sa.Column("cost", sa.Double),
        sa.Column("finish_reason", sa.Text),
    )
    op.create_index("turns_by_conversation", "turns", ["conversation", "id"])
    op.create_index("turns_by_parent", "turns", ["parent"])
    op.create_index("turns_by_prompt", "turns", ["prompt_hash"])
    op.create_table(
        "prompts",
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("text", sa.LargeBinary, nullable=False),
    )
