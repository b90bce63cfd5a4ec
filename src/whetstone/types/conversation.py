"""Conversations as they are kept: a tree of turns, and for each answer where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from whetstone.types.chat import FinishReason, Message, ModelIdentity, Options, Usage

TurnState = Literal["complete", "streaming", "partial", "failed"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an answer came from: enough to ask for it again, and to see what it cost.

    Attributes:
        model: which model answered.
        options: the sampling options it was asked with.
        prompt_hash: hex sha256 of the exact prompt, under which the store keeps its text.
        system: the system prompt it was asked with in place of the conversation's, "" for none at all; None where the
            conversation's held.
        usage: token counts, as the engine told them.
        seconds: wall time of the whole answer.
        first_token_seconds: wall time until the first piece arrived; None when none did.
        cost: in US dollars; None where no price is known.
        finish_reason: why the answer ended; None for one that was cut off.
    """

    model: ModelIdentity
    options: Options = field(default_factory=Options)
    prompt_hash: str = ""
    system: str | None = None
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    first_token_seconds: float | None = None
    cost: float | None = None
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation, as it is kept.

    Attributes:
        id: unique, and in order of creation within one conversation.
        conversation: id of the conversation.
        parent: id of the turn it follows; None for the first. Two turns with one parent are branches.
        message: what was said, without reasoning.
        created: when, in UTC.
        reasoning: what the model thought before it answered; shown folded, and sent back only where its template asks.
        state: "complete"; "streaming" while it is being written; "partial" when it was stopped, or its writer was
            killed; "failed" when the model failed (what had arrived is kept).
        error: the sentence of the failure.
        origin: of an answer by a model.
    """

    id: str
    conversation: str
    parent: str | None
    message: Message
    created: datetime
    reasoning: str = ""
    state: TurnState = "complete"
    error: str = ""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation without its turns.

    Attributes:
        id: unique.
        title: shown in lists; "" until somebody gives one or something is said.
        model: spec of the model that answers next.
        system: the system prompt, "" for none.
        options: sampling options of the next answer.
        head: id of the turn that the next one follows; None while there is none. It names the branch that is open.
        created: when, in UTC.
        updated: when something was last said or changed, in UTC.
    """

    id: str
    title: str
    model: str
    system: str
    options: Options
    head: str | None
    created: datetime
    updated: datetime
