"""What an import yields: conversations as they will be kept, and entries that cannot be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from whetstone.chat.rows import title_from
from whetstone.storage.ids import id_of, new_id
from whetstone.types import Conversation, Message, Options, Origin, Turn


class BadEntry(ValueError):
    """Why an entry cannot be imported; caught where entries are counted."""


class UnknownForm(BadEntry):
    """An entry of no form that is known."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A conversation that was read.

    Attributes:
        number: of the entry in the file, from 1.
        conversation: without a model.
        turns: in order of creation.
    """

    number: int
    conversation: Conversation
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that could not be read, with the reason."""

    number: int
    reason: str


@dataclass(slots=True)
class Draft:
    """A conversation while it is read.

    Attributes:
        key: what names it where it came from; equal keys and times give equal ids. "" for none.
        title: "" for the first message of the user.
        system: the system prompt.
        options: sampling options.
        created: None for now.
        updated: None for the time of the last turn.
        turns: in order of creation.
        head: id of the last turn of the open branch; None for the last turn.
    """

    key: str = ""
    title: str = ""
    system: str = ""
    options: Options = field(default_factory=Options)
    created: datetime | None = None
    updated: datetime | None = None
    turns: list[Turn] = field(default_factory=list)
    head: str | None = None

    def add(
        self,
        message: Message,
        parent: str | None,
        *,
        reasoning: str = "",
        created: datetime | None = None,
        origin: Origin | None = None,
    ) -> Turn:
        """A new last turn."""
        moment = created or self.created or datetime.now(UTC)
        turn = Turn(new_id(), "", parent, message, moment, reasoning=reasoning, origin=origin)
        self.turns.append(turn)
        return turn

    def imported(self, number: int) -> Imported:
        """The conversation as it will be kept.

        Raises:
            BadEntry: it holds no messages.
        """
        if not self.turns and not self.system:
            raise BadEntry("it holds no messages")
        created = self.created or datetime.now(UTC)
        conversation = Conversation(
            id=id_of(self.key, created) if self.key else new_id(),
            title=self.title or _title(turn.message for turn in self.turns),
            model="",
            system=self.system,
            options=self.options,
            head=self.head or (self.turns[-1].id if self.turns else None),
            created=created,
            updated=self.updated or max((turn.created for turn in self.turns), default=created),
        )
        return Imported(number, conversation, tuple(replace(turn, conversation=conversation.id) for turn in self.turns))


def _title(messages: Iterable[Message]) -> str:
    return next((title for message in messages if message["role"] == "user" and (title := title_from(message))), "")
