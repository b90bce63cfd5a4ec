"""A model's reply, which a thread reads piece by piece, awaited in the event loop.

Each stream has a thread to itself, for as long as it is open: the threads that the framework keeps are 40, and one
slow model would occupy them all. Nothing holds the thread back when the client reads slowly: a reply is bounded by the
model's context, and the model's slot is wanted by others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from whetstone.types import Chunk

T = TypeVar("T")
Source = Callable[[], Iterator[Chunk]]


class Reading(Generic[T]):
    """Streams that are read, each on a thread of its own, and what was made of their chunks. Lives in one event loop.

    Args:
        sources: each opens a stream; called in its thread, so it may load a model.
        makers: for each source, what to make of a chunk, in that thread; None is kept back.
        ended: called in the event loop once no thread works any more.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        makers: Sequence[Callable[[Chunk], T | None]],
        ended: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._items: deque[T] = deque()
        self._error: BaseException | None = None
        self._stopping = False
        self._working = len(sources)
        self._streams: set[Iterator[Chunk]] = set()
        self._lock = threading.Lock()
        self._waiter: asyncio.Future[bool] | None = None
        self._notified = False
        for source, make in zip(sources, makers, strict=True):
            threading.Thread(target=self._read, args=(source, make), name="whetstone-read", daemon=True).start()

    async def take(self, patience: float | None = None) -> list[T] | None:
        """What has arrived since the last time: waited for, however much it is.

        Args:
            patience: seconds after which an empty list is given.

        Returns:
            None after the end.

        Raises:
            BaseException: what a source raised, after everything that arrived before it.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._stopping or not self._working:
                return None
            self._waiter = self._loop.create_future()
            timer = None if patience is None else self._loop.call_later(patience, self._give_up, self._waiter)
            try:
                if await self._waiter:
                    return []
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        taken = []
        while self._items:
            taken.append(self._items.popleft())
        return taken

    def stop(self, error: BaseException | None = None) -> None:
        """Stop the streams. Whoever waits in `take` is told the error, or that this is the end."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._error = self._error or error
            streams = list(self._streams)
        self._wake()
        if streams:  # closing one may wait for its engine, which the event loop must not
            threading.Thread(target=_close_all, args=(streams,), name="whetstone-close", daemon=True).start()

    def on_gone(self, _: asyncio.Future[None]) -> None:
        """Stop: a callback for the future that says that the client went away."""
        self.stop()

    def _read(self, source: Source, make: Callable[[Chunk], T | None]) -> None:
        stream: Iterator[Chunk] | None = None
        try:
            if not self._stopping:
                stream = source()
                with self._lock:
                    self._streams.add(stream)
                for chunk in stream if not self._stopping else ():
                    made = make(chunk)
                    if made is not None:
                        self._items.append(made)
                        self._notify()
                    if self._stopping:
                        break
        except BaseException as error:
            with self._lock:
                if not self._stopping:  # afterwards, errors come from being stopped
                    self._error = self._error or error
        finally:
            if stream is not None:
                with self._lock:
                    self._streams.discard(stream)
                _close_all([stream])
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waited
                self._loop.call_soon_threadsafe(self._one_ended)

    def _notify(self) -> None:
        if not self._notified:  # else the loop will look at everything that is there by then
            self._notified = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)

    def _one_ended(self) -> None:
        self._working -= 1
        if self._error is not None:
            self.stop()
        if not self._working:
            self._ended()
        self._wake()

    def _wake(self) -> None:
        self._notified = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    def _give_up(self, waiter: asyncio.Future[bool]) -> None:
        if not waiter.done():
            waiter.set_result(True)


def _close_all(streams: Sequence[Iterator[Chunk]]) -> None:
    for stream in streams:
        close = getattr(stream, "close", None)
        if close is not None:
            # ValueError: a generator that another thread is in; that thread stops at its next chunk.
            with contextlib.suppress(Exception):
                close()
