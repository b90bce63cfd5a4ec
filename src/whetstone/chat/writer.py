"""Answers that are stored while they stream: a kill at any instant loses what came in the last quarter of a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from whetstone.chat.rows import clock_seconds, origin_row, said_row
from whetstone.chat.tables import conversations, turns
from whetstone.errors import StorageError
from whetstone.storage.columns import utc_now
from whetstone.storage.database import Database
from whetstone.types import Message, ToolCall, Turn, TurnState, Usage
from whetstone.types.chat import FinishReason

SAVE_SECONDS = 0.25
HEARTBEAT_SECONDS = 5.0


class AnswerWriter:
    """Writes one answer. Safe to use from several threads.

    `append` only notes what came; a thread of the store saves it. When saving fails for a while (the database is
    locked), the answer goes on and is saved later; `finish` is what tells when it could not be saved at all.
    """

    def __init__(self, database: Database, saver: Saver, turn: Turn) -> None:
        self._database = database
        self._saver = saver
        self._turn = turn
        self._lock = threading.Lock()
        self._finishing = threading.Lock()
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._changed = False
        self._started = time.monotonic()
        self._first: float | None = None
        saver.watch(self)

    @property
    def turn(self) -> Turn:
        """The answer as of now, what is not saved yet included."""
        with self._lock:
            return self._joined()

    def append(self, text: str = "", reasoning: str = "") -> None:
        """Add a piece. Cheap enough to call for every token. After `finish`, nothing is added."""
        if not text and not reasoning:
            return
        with self._lock:
            if self._first is None:
                self._first = time.monotonic() - self._started
            self._text.append(text)
            self._reasoning.append(reasoning)
            self._changed = True

    def finish(
        self,
        *,
        state: TurnState = "complete",
        error: str = "",
        tool_calls: Sequence[ToolCall] = (),
        usage: Usage = Usage(),  # noqa: B008 - frozen
        seconds: float | None = None,
        first_token_seconds: float | None = None,
        cost: float | None = None,
        finish_reason: FinishReason | None = None,
    ) -> Turn:
        """Save the answer as it is to stay. Finishing again changes nothing and returns the same turn.

        Args:
            state: "complete", "partial" or "failed".
            error: the sentence of a failure.
            tool_calls: the calls the model asks for.
            usage: token counts.
            seconds: wall time of the answer; None: since this writer was made.
            first_token_seconds: wall time until the first piece; None: as seen by `append`.
            cost: in US dollars; None where no price is known.
            finish_reason: why the answer ended; None for one that was cut off.

        Raises:
            StorageError: it could not be saved. Finishing may be tried again.
        """
        with self._finishing:
            with self._lock:
                turn = self._joined()
                if turn.state != "streaming":
                    return turn
                taken = time.monotonic() - self._started
                first = self._first if first_token_seconds is None else first_token_seconds
            assert turn.origin is not None
            origin = replace(
                turn.origin,
                usage=usage,
                seconds=taken if seconds is None else seconds,
                first_token_seconds=first,
                cost=cost,
                finish_reason=finish_reason,
            )
            message = turn.message
            if tool_calls:
                message = {**message, "content": message["content"] or None, "tool_calls": _wire(tool_calls)}
            turn = replace(turn, message=message, state=state, error=error, origin=origin)
            self._save_finished(turn)
            with self._lock:
                self._turn, self._text, self._reasoning, self._changed = turn, [], [], False
            self._saver.forget(self)
            return turn

    def take_unsaved(self, heartbeat: bool) -> dict[str, Any] | None:
        """For the saver: the columns to save now; None when nothing new came, and no sign of life is due."""
        with self._lock:
            if self._turn.state != "streaming" or not (self._changed or heartbeat):
                return None
            self._changed = False
            turn = self._joined()
        return {"turn": turn.id, **said_row(turn.message, turn.reasoning)}

    def keep_unsaved(self) -> None:
        """For the saver: what was taken last could not be saved."""
        with self._lock:
            self._changed = True

    def _joined(self) -> Turn:
        """The turn with all pieces in it. Under the lock."""
        if self._turn.state == "streaming" and self._text:
            text = "".join([str(self._turn.message["content"] or ""), *self._text])
            reasoning = "".join([self._turn.reasoning, *self._reasoning])
            message: Message = {**self._turn.message, "content": text}
            self._turn = replace(self._turn, message=message, reasoning=reasoning)
            self._text, self._reasoning = [], []
        return self._turn

    def _save_finished(self, turn: Turn) -> None:
        assert turn.origin is not None
        columns = {
            **said_row(turn.message, turn.reasoning),
            **origin_row(turn.origin),
            "state": turn.state,
            "error": turn.error,
            "writer": None,
            "heartbeat": None,
        }
        with self._database.write() as connection:
            connection.execute(sa.update(turns).where(turns.c.id == turn.id).values(columns))
            connection.execute(
                sa.update(conversations).where(conversations.c.id == turn.conversation).values(updated=utc_now())
            )


class Saver:
    """The thread that saves all answers that are being written, together; it lives while there are any."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._writers: dict[str, AnswerWriter] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, writer: AnswerWriter) -> None:
        """Save what this writer gets, until `forget`."""
        with self._lock:
            self._writers[writer.turn.id] = writer
            if self._thread is None:
                self._wake.clear()
                self._thread = threading.Thread(target=self._work, name="whetstone-saver", daemon=True)
                self._thread.start()

    def forget(self, writer: AnswerWriter) -> None:
        """The writer has saved everything itself."""
        with self._lock:
            self._writers.pop(writer.turn.id, None)
            if not self._writers:
                self._wake.set()

    def _work(self) -> None:
        beat = time.monotonic()
        while True:
            self._wake.wait(SAVE_SECONDS)
            with self._lock:
                if not self._writers:
                    self._thread = None
                    return
                self._wake.clear()
                writers = list(self._writers.values())
            now = time.monotonic()
            heartbeat = now - beat >= HEARTBEAT_SECONDS
            if self._save(writers, heartbeat) and heartbeat:
                beat = now

    def _save(self, writers: list[AnswerWriter], heartbeat: bool) -> bool:
        taken = [(writer, columns) for writer in writers if (columns := writer.take_unsaved(heartbeat)) is not None]
        if not taken:
            return True
        statement = (
            # An answer that was finished meanwhile stays as it is.
            sa.update(turns)
            .where(turns.c.id == sa.bindparam("turn"), turns.c.state == "streaming")
            .values(
                message=sa.bindparam("message"),
                message_folded=sa.bindparam("message_folded"),
                reasoning=sa.bindparam("reasoning"),
                heartbeat=clock_seconds(),
            )
        )
        try:
            with self._database.write() as connection:
                connection.execute(statement, [columns for _, columns in taken])
        except StorageError:
            for writer, _ in taken:
                writer.keep_unsaved()
            return False
        return True


def _wire(tool_calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in tool_calls
    ]
