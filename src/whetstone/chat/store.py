"""Where conversations are kept: trees of turns in one database, each answer with the prompt it came from."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from whetstone.chat import tree
from whetstone.chat.rows import (
    Row,
    clock_seconds,
    conversation_of,
    conversation_row,
    options_row,
    title_from,
    turn_columns,
    turn_of,
    turn_row,
)
from whetstone.chat.tables import conversations, folded, prompts, turns
from whetstone.chat.writer import AnswerWriter, Saver
from whetstone.errors import UsageError
from whetstone.storage.columns import utc_now
from whetstone.storage.database import Database
from whetstone.storage.ids import ID_LENGTH, new_id
from whetstone.storage.process import this_process
from whetstone.types import Conversation, Message, ModelIdentity, Options, Origin, Turn, TurnState, assistant

Turns = list[Turn]  # within the class, `list` is the method

_PROMPTS_LOCK = 0x70726F6D  # "prom"; an advisory lock of PostgreSQL


class ConversationStore:
    """Conversations in a database. Safe to use from several threads; several processes may use one database.

    Every method may raise StorageError: in one sentence, why the database cannot be read or written.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._saver = Saver(database)

    def create(self, *, model: str, system: str = "", options: Options = Options(), title: str = "") -> Conversation:  # noqa: B008 - frozen
        """A new conversation without turns.

        Args:
            model: spec of the model that answers.
            system: the system prompt, "" for none.
            options: sampling options of the answers.
            title: shown in lists; without one, the first message of the user gives it.
        """
        now = utc_now()
        conversation = Conversation(new_id(), title, model, system, options, None, now, now)
        self.insert(conversation, [])
        return conversation

    def insert(self, conversation: Conversation, turns_: Sequence[Turn]) -> bool:
        """Put in a whole conversation with its turns, as they are. False, and nothing changed, if its id is taken.

        Args:
            conversation: with the head it is to have.
            turns_: in order, each after the one it follows.
        """
        with self._database.write() as connection:
            taken = sa.select(conversations.c.id).where(conversations.c.id == conversation.id)
            if connection.execute(taken).first():
                return False
            connection.execute(sa.insert(conversations), conversation_row(conversation))
            if turns_:
                connection.execute(sa.insert(turns), [turn_row(turn) for turn in turns_])
        return True

    def get(self, id: str) -> Conversation:
        """The conversation with this id, or with the only id that begins so.

        Raises:
            UsageError: there is none, or several ids begin so.
        """
        with self._database.read() as connection:
            return self._found(connection, id)

    def latest(self) -> Conversation | None:
        """The conversation in which something was last said or changed."""
        return next(iter(self.list(limit=1)), None)

    def list(self, search: str = "", limit: int = 100, offset: int = 0) -> list[Conversation]:
        """Conversations, the one last changed first.

        Args:
            search: only those with this text in the title or a message, whatever its case, in any script.
            limit: at most this many.
            offset: without the first so many.
        """
        query = sa.select(conversations).order_by(conversations.c.updated.desc(), conversations.c.id.desc())
        if sought := folded(search.strip()):
            said = sa.select(turns.c.id).where(
                turns.c.conversation == conversations.c.id, self._holds(turns.c.message_folded, sought)
            )
            query = query.where(sa.or_(self._holds(conversations.c.title_folded, sought), said.exists()))
        with self._database.read() as connection:
            return [conversation_of(row) for row in connection.execute(query.limit(limit).offset(offset)).mappings()]

    def update(
        self,
        id: str,
        *,
        title: str | None = None,
        model: str | None = None,
        system: str | None = None,
        options: Options | None = None,
        head: str | None = None,
    ) -> Conversation:
        """Change what is given.

        Args:
            id: of the conversation, or its unique beginning.
            title: shown in lists.
            model: spec of the model that answers next.
            system: the system prompt, "" for none.
            options: sampling options of the next answer.
            head: id of the turn that the next one follows.

        Raises:
            UsageError: there is no such conversation, or no such turn in it.
        """
        changes: Row = {"updated": utc_now()}
        if title is not None:
            changes |= {"title": title, "title_folded": folded(title)}
        if options is not None:
            changes["options"] = options_row(options)
        changes |= {
            name: value for name, value in (("model", model), ("system", system), ("head", head)) if value is not None
        }
        with self._database.write() as connection:
            conversation = self._found(connection, id, lock=True)
            if head is not None:
                self._check_turn(connection, conversation.id, head)
            connection.execute(sa.update(conversations).where(conversations.c.id == conversation.id).values(changes))
            return self._found(connection, conversation.id)

    def delete(self, id: str) -> None:
        """Delete a conversation, its turns, and the prompts that nothing else was asked with.

        Raises:
            UsageError: there is no such conversation.
        """
        with self._database.write() as connection:
            self._lock_prompts(connection, shared=False)
            conversation = self._found(connection, id, lock=True)
            own = sa.select(turns.c.prompt_hash).where(turns.c.conversation == conversation.id)
            hashes = {hash for (hash,) in connection.execute(own.where(turns.c.prompt_hash.is_not(None)).distinct())}
            connection.execute(sa.delete(conversations).where(conversations.c.id == conversation.id))
            used = sa.select(turns.c.id).where(turns.c.prompt_hash == prompts.c.hash)
            for hash in hashes:
                connection.execute(sa.delete(prompts).where(prompts.c.hash == hash, ~used.exists()))

    def add(
        self,
        conversation: str,
        parent: str | None,
        message: Message,
        *,
        reasoning: str = "",
        state: TurnState = "complete",
        origin: Origin | None = None,
    ) -> Turn:
        """Add a turn, from which the conversation goes on. The first message of a user gives it a title.

        Args:
            conversation: its id.
            parent: id of the turn it follows; None for a first one.
            message: what was said, without reasoning.
            reasoning: what the model thought before.
            state: of the turn.
            origin: where an answer came from.

        Raises:
            UsageError: there is no such conversation, or no such turn in it.
        """
        with self._database.write() as connection:
            turn = self._next_turn(connection, conversation, parent, message)
            turn = replace(turn, reasoning=reasoning, state=state, origin=origin)
            self._append(connection, turn, {})
        return turn

    def begin_answer(
        self,
        conversation: str,
        parent: str | None,
        *,
        model: ModelIdentity,
        options: Options,
        prompt: str,
        system: str | None = None,
    ) -> AnswerWriter:
        """Add an answer that is yet to come, from which the conversation goes on.

        It reads as "streaming" while this process writes it, and as "partial" as soon as the process is gone.

        Args:
            conversation: its id.
            parent: id of the turn that is answered.
            model: which model answers.
            options: the sampling options it was asked with.
            prompt: the exact text it was asked with, kept under its sha256.
            system: the system prompt that took the place of the conversation's in it; None: none did.

        Raises:
            UsageError: there is no such conversation, or no such turn in it.
        """
        data = prompt.encode("utf-8", "surrogatepass")
        origin = Origin(model, options, hashlib.sha256(data).hexdigest(), system)
        packed = zlib.compress(data)
        with self._database.write() as connection:
            self._lock_prompts(connection, shared=True)
            turn = self._next_turn(connection, conversation, parent, assistant(""))
            turn = replace(turn, state="streaming", origin=origin)
            self._keep_prompt(connection, origin.prompt_hash, packed)
            self._append(connection, turn, {"writer": str(this_process()), "heartbeat": clock_seconds()})
        return AnswerWriter(self._database, self._saver, turn)

    def turns(self, conversation: str) -> Turns:
        """All turns of a conversation, in order of creation.

        Raises:
            UsageError: there is no such conversation.
        """
        with self._database.read() as connection:
            return self._turns(connection, self._found(connection, conversation).id)

    def path(self, conversation: str, leaf: str | None = None) -> Turns:
        """The turns of one branch, from the first to `leaf`; None means the head.

        Raises:
            UsageError: there is no such conversation, or no such turn in it.
        """
        with self._database.read() as connection:
            found = self._found(connection, conversation)
            return tree.path_to(self._turns(connection, found.id), leaf or found.head)

    def turn(self, id: str) -> Turn:
        """One turn.

        Raises:
            UsageError: there is none with this id.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(*turn_columns).where(turns.c.id == _storable(id))).mappings().first()
        if row is None:
            raise UsageError(f"There is no turn {id!r}")
        return turn_of(row)

    def prompt(self, hash: str) -> str:
        """The exact text that a model was asked with.

        Args:
            hash: hex sha256 of it, from an `Origin`.

        Raises:
            UsageError: no prompt with this hash is kept.
        """
        with self._database.read() as connection:
            packed = connection.execute(sa.select(prompts.c.text).where(prompts.c.hash == _storable(hash))).scalar()
        if packed is None:
            raise UsageError(f"No prompt with the sha256 {hash!r} is kept")
        return zlib.decompress(packed).decode("utf-8", "surrogatepass")

    def _found(self, connection: Connection, id: str, lock: bool = False) -> Conversation:
        ids = conversations.c.id
        prefix = _storable(id)
        whole = len(prefix) == ID_LENGTH
        query = sa.select(conversations).where(ids == prefix if whole else ids.startswith(prefix)).limit(2)
        rows = connection.execute(query.with_for_update() if lock else query).mappings().all()
        if not rows or not prefix:
            raise UsageError(f"There is no conversation {id!r}")
        if len(rows) > 1:
            raise UsageError(f"Several conversations have ids that begin with {id!r}: give more of it")
        return conversation_of(rows[0])

    def _turns(self, connection: Connection, conversation: str) -> Turns:
        query = sa.select(*turn_columns).where(turns.c.conversation == conversation).order_by(turns.c.id)
        return [turn_of(row) for row in connection.execute(query).mappings()]

    def _check_turn(self, connection: Connection, conversation: str, turn: str) -> None:
        query = sa.select(turns.c.id).where(turns.c.conversation == conversation, turns.c.id == _storable(turn))
        if connection.execute(query).first() is None:
            raise UsageError(f"There is no turn {turn!r} in the conversation {conversation}")

    def _next_turn(self, connection: Connection, conversation: str, parent: str | None, message: Message) -> Turn:
        found = self._found(connection, conversation, lock=True)
        if parent is not None:
            self._check_turn(connection, found.id, parent)
        return Turn(new_id(after=parent or ""), found.id, parent, message, utc_now())

    def _append(self, connection: Connection, turn: Turn, more: Row) -> None:
        connection.execute(sa.insert(turns).values({**turn_row(turn), **more}))
        own = conversations.c.id == turn.conversation
        connection.execute(sa.update(conversations).where(own).values(head=turn.id, updated=turn.created))
        if turn.message["role"] == "user" and (title := title_from(turn.message)):
            untitled = sa.update(conversations).where(own, conversations.c.title == "")
            connection.execute(untitled.values(title=title, title_folded=folded(title)))

    def _keep_prompt(self, connection: Connection, hash: str, packed: bytes) -> None:
        if connection.execute(sa.select(prompts.c.hash).where(prompts.c.hash == hash)).first():
            return
        if self._database.sqlite:
            connection.execute(sa.insert(prompts).values(hash=hash, text=packed))
            return
        from sqlalchemy.dialects.postgresql import insert

        connection.execute(insert(prompts).values(hash=hash, text=packed).on_conflict_do_nothing())

    def _lock_prompts(self, connection: Connection, shared: bool) -> None:
        """Let nobody delete a prompt that is about to be used again. SQLite has one writer at a time anyway."""
        if not self._database.sqlite:
            lock = sa.func.pg_advisory_xact_lock_shared if shared else sa.func.pg_advisory_xact_lock
            connection.execute(sa.select(lock(_PROMPTS_LOCK)))

    def _holds(self, column: sa.ColumnElement[str], sought: str) -> sa.ColumnElement[bool]:
        # Not LIKE: it has wildcards, and folds a part of the alphabet by itself.
        position = sa.func.instr if self._database.sqlite else sa.func.strpos
        return position(column, sought) > 0


def _storable(id: str) -> str:
    """An id as asked for, without what no id has and PostgreSQL refuses."""
    return id if id.isascii() and id.isalnum() else ""
