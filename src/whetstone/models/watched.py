"""A model whose replies are watched from another thread: what the newest says so far, and its end at any instant."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Any, cast

from whetstone.errors import ModelError
from whetstone.models.base import BatchModel, ChatModel, ReplyStream, close_stream, drain
from whetstone.types import Chunk, Message, Options, Reply


class Stopped(BaseException):
    """Goes through work that was stopped, whatever it catches."""


class ReplyWatch:
    """Follows the replies of a model that `watched` made. Safe to use from several threads.

    Attributes:
        text: what the reply that began last says so far.
    """

    def __init__(self) -> None:
        self.text = ""
        self._lock = threading.Lock()
        self._open: list[Iterator[Chunk]] = []
        self._newest: Iterator[Chunk] | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the replies that are under way, wherever they wait, and refuse all others."""
        with self._lock:
            self._stopped = True
            streams = list(self._open)
        for stream in streams:
            close_stream(stream)

    def check(self) -> None:
        """Raises Stopped: `stop` was called."""
        if self._stopped:
            raise Stopped

    def follow(self, stream: Iterator[Chunk]) -> Generator[Chunk]:
        """The stream, watched.

        Raises:
            Stopped: `stop` was called before it or meanwhile.
        """
        with self._lock:
            self._open.append(stream)
            self._newest, self.text = stream, ""
        try:
            self.check()
            for chunk in stream:
                if self._newest is stream:
                    self.text += chunk.text
                yield chunk
                self.check()
            self.check()  # a reply that was ended is no reply
        finally:
            with self._lock:
                self._open.remove(stream)
            close_stream(stream)


def watched(model: ChatModel, watch: ReplyWatch) -> ChatModel:
    """The model, which can do all that it could, and is followed by `watch`."""
    own = {"stream", "close"} | ({"reply_many"} if isinstance(model, BatchModel) else set())
    passed_on = {name: _passed_on(name) for name in dir(model) if not name.startswith("_") and name not in own}
    base = _WatchedBatch if isinstance(model, BatchModel) else _Watched
    # Protocols look for what a class has, and not for what __getattr__ would find.
    return cast(ChatModel, type(type(model).__name__, (base,), passed_on)(model, watch))


def _passed_on(name: str) -> property:
    return property(lambda self: getattr(self._model, name))


class _Watched:
    def __init__(self, model: Any, watch: ReplyWatch) -> None:
        self._model = model
        self._watch = watch

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> Iterator[Chunk]:  # noqa: B008
        self._watch.check()
        inner = self._model.stream(messages, options)
        return ReplyStream(self._watch.follow(inner), lambda: close_stream(inner))

    def close(self) -> None:
        self._model.close()


class _WatchedBatch(_Watched):
    def reply_many(
        self,
        conversations: Sequence[Sequence[Message]],
        options: Options = Options(),  # noqa: B008
    ) -> Iterator[tuple[int, Reply | ModelError]]:
        self._watch.check()
        if len(conversations) == 1:  # a batch of one is not faster than a stream, which can be watched
            yield 0, self._one(conversations[0], options)
            return
        for index, outcome in self._model.reply_many(conversations, options):
            yield index, outcome
            self._watch.check()

    def _one(self, messages: Sequence[Message], options: Options) -> Reply | ModelError:
        try:
            return drain(self.stream(messages, options))
        except ModelError as error:
            if not error.concerns_one_item:
                raise
            return error
