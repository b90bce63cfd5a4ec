"""An answer read on a thread of its own, so that the terminal's thread is free to draw, and to stop it."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Literal

from whetstone.chat.answer import Answering
from whetstone.tools.events import Called, Returned
from whetstone.types import Chunk, ToolCall

_STOP_SECONDS = 5.0  # longest wait for an answer that was told to stop


class ConsentAsked:
    """A call that waits until somebody says whether it may be made.

    Attributes:
        call: which one.
    """

    def __init__(self, call: ToolCall) -> None:
        self.call = call
        self._allowed = False
        self._answered = threading.Event()

    def answer(self, allowed: bool) -> None:
        """Say it."""
        self._allowed = allowed
        self._answered.set()

    def wait(self, stopping: threading.Event) -> bool:
        """What was said; False when the answer is stopped before."""
        while not self._answered.wait(0.1):
            if stopping.is_set():
                return False
        return self._allowed


FeedEvent = Chunk | Called | Returned | ConsentAsked


class Feed:
    """What happens in an answer as it comes, with a pulse in between.

    Args:
        begin: asks for the answer. It may load a model, and raise.

    Attributes:
        answer: what `begin` gave, once it has.
        stopped: whether the person stopped it.
    """

    def __init__(self, begin: Callable[[Feed], Answering]) -> None:
        self.answer: Answering | None = None
        self.stopped = False
        self._begin = begin
        self._error: BaseException | None = None
        self._events: queue.SimpleQueue[FeedEvent | Literal["end", "interrupt"]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="whetstone-chat", daemon=True)

    def consent(self, call: ToolCall) -> bool:
        """Ask whoever reads the events whether a call may be made; on the thread that reads the answer."""
        asked = ConsentAsked(call)
        self._events.put(asked)
        return asked.wait(self._stopping)

    def watch(self, event: Called | Returned) -> None:
        """Let whoever reads the events know what a tool does; on the thread that reads the answer."""
        self._events.put(event)

    def events(self, pulse: float = 0.1) -> Iterator[FeedEvent]:
        """All that happens; an empty chunk whenever nothing did for `pulse` seconds. Ctrl-C ends the answer.

        Raises:
            WhetstoneError: what asking or answering raised.
        """
        self._thread.start()
        try:
            with self._interrupts():
                while True:
                    try:
                        event = self._events.get(timeout=pulse)
                    except queue.Empty:
                        yield Chunk()
                        continue
                    if event == "end":
                        break
                    if event == "interrupt":
                        self.stopped = True
                        break
                    yield event
        finally:
            self._stop()
        if self._error is not None and not self.stopped:
            raise self._error

    def _read(self) -> None:
        try:
            self.answer = self._begin(self)
            if self._stopping.is_set():  # `_stop` may have looked before the answer was there
                self.answer.close()
            for chunk in self.answer:
                self._events.put(chunk)
        except BaseException as error:
            self._error = error
        finally:
            self._events.put("end")

    def _stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive() and self.answer is not None:
            self.answer.close()
        deadline = time.monotonic() + (_STOP_SECONDS if self.answer is not None else 0.2)
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._thread.join(0.05)

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Make Ctrl-C an event: a KeyboardInterrupt could strike in the middle of a line that is being drawn."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(_signal: int, _frame: FrameType | None) -> None:
            self._events.put("interrupt")

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
