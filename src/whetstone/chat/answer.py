"""One answer under way: streamed from the model, written to the store as it comes, stopped from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from whetstone.chat.context import Fitting
from whetstone.errors import ModelError
from whetstone.models import ChatModel, TokenizingModel
from whetstone.types import Chunk, ToolCall, Turn, TurnState, Usage

if TYPE_CHECKING:
    from whetstone.chat.writer import AnswerWriter


class Answering(Protocol):
    """An answer under way: its chunks, kept as they are read.

    Attributes:
        fitting: what was sent, and what was left out.
    """

    fitting: Fitting

    @property
    def turn(self) -> Turn:
        """The answer as it is kept now."""
        ...

    def __iter__(self) -> Iterator[Chunk]: ...

    def __next__(self) -> Chunk: ...

    def close(self) -> None:
        """Stop the work, from any thread, and keep what has arrived. Closing twice is harmless."""
        ...


class Answer(Iterator[Chunk]):
    """The chunks of an answer, which is kept as they are read.

    An answer that nobody reads to its end stays "streaming" until it is closed. A model's failure is kept with what had
    arrived, and raised.

    Args:
        model: who answers.
        fitting: what it is sent.
        stream: its reply.
        writer: keeps it.
        prefix: text that the answer begins with, and that the model was given to continue.

    Attributes:
        fitting: what was sent, and what was left out.
    """

    def __init__(
        self, model: ChatModel, fitting: Fitting, stream: Iterator[Chunk], writer: AnswerWriter, prefix: str = ""
    ) -> None:
        self.fitting = fitting
        self._model = model
        self._stream = stream
        self._writer = writer
        self._lock = threading.Lock()
        self._stopped = False
        self._turn: Turn | None = None
        self._started = time.perf_counter()
        self._first: float | None = None
        self._calls: list[ToolCall] = []
        self._last = Chunk()
        if prefix:
            writer.append(text=prefix)

    @property
    def turn(self) -> Turn:
        """The answer as it is kept now."""
        return self._turn or self._writer.turn

    def __next__(self) -> Chunk:
        try:
            chunk = next(self._stream)
        except StopIteration:
            self._end("partial" if self._stopped else "complete")
            raise
        except ModelError as error:
            self._end("partial" if self._stopped else "failed", str(error))
            if self._stopped:
                raise StopIteration from None
            raise
        except BaseException:
            self._end("partial")
            raise
        self._keep(chunk)
        return chunk

    def close(self) -> None:
        """Stop the model's work, from any thread, and keep what has arrived. Closing twice is harmless."""
        self._stopped = True
        close: Callable[[], None] | None = getattr(self._stream, "close", None)
        if close is not None:
            try:
                close()
            except ValueError:  # a plain generator that another thread is in: it ends at its next chunk
                return
        self._end("partial")

    def _keep(self, chunk: Chunk) -> None:
        with self._lock:
            if self._turn is not None:
                return
            if self._first is None and (chunk.text or chunk.reasoning or chunk.tool_calls):
                self._first = time.perf_counter() - self._started
            if chunk.text or chunk.reasoning:
                self._writer.append(text=chunk.text, reasoning=chunk.reasoning)
            self._calls.extend(chunk.tool_calls)
            if chunk.finish_reason is not None or chunk.usage is not None:
                self._last = chunk

    def _end(self, state: TurnState, error: str = "") -> None:
        from whetstone.models.catalogue import cost

        with self._lock:
            if self._turn is not None:
                return
            usage = self._last.usage or self._counted()
            self._turn = self._writer.finish(
                state=state,
                error=error if state == "failed" else "",
                tool_calls=tuple(self._calls),
                usage=usage,
                seconds=time.perf_counter() - self._started,
                first_token_seconds=self._first,
                cost=cost(self._model.identity, usage),
                finish_reason=self._last.finish_reason,
            )

    def _counted(self) -> Usage:
        """Tokens of an answer whose engine did not come to tell them; none where they cannot be counted."""
        use = self.fitting.use
        if self._first is None or not use.exact or not isinstance(self._model, TokenizingModel):
            return Usage()
        turn = self._writer.turn
        try:
            return Usage(use.used, len(self._model.encode(f"{turn.reasoning}{turn.message['content'] or ''}")))
        except (ModelError, RuntimeError):  # the model was closed meanwhile
            return Usage()
