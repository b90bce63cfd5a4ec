"""What a model is: something that streams a reply to messages. Everything else is derived from the stream."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from whetstone.errors import ModelError
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.types import Chunk, Citation, Message, ModelIdentity, Options, Reply, TokenLogprob, ToolCall, Usage

GREEDY = Options(temperature=0)
STOP_SECONDS = 2.0  # longest wait for streams that were told to stop


@runtime_checkable
class ChatModel(Protocol):
    """Something that streams a reply to messages.

    Attributes:
        identity: which model this is. May load or hash the weights on first access.
        concurrency: how many streams are worth having open at once (llama.cpp's slots, an endpoint's limit, 1).
    """

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def concurrency(self) -> int: ...

    def stream(self, messages: Sequence[Message], options: Options = ...) -> Iterator[Chunk]:
        """The reply, piece by piece. Closing the iterator stops the engine's work.

        An iterator whose `close` works from another thread is stopped at any instant; a generator, at its next chunk.

        When the last message is the assistant's, the reply continues it (where the engine can; otherwise the engine
        raises RequestRefusedError).

        Raises:
            ModelError: one of its kinds, from any engine.
        """
        ...

    def close(self) -> None:
        """Free what the model holds. It cannot be used afterwards. Closing twice is harmless."""
        ...


@runtime_checkable
class RenderingModel(Protocol):
    """A model that can show the exact text its chat template makes of messages."""

    def render(self, messages: Sequence[Message], options: Options = ...) -> str: ...


@runtime_checkable
class PromptModel(RenderingModel, Protocol):
    """A model that can also show the very token ids that `stream` sends."""

    def prompt_ids(self, messages: Sequence[Message], options: Options = ...) -> list[int]: ...


@runtime_checkable
class BatchModel(Protocol):
    """A model that answers many conversations faster together than one by one (transformers)."""

    def reply_many(
        self, conversations: Sequence[Sequence[Message]], options: Options = ...
    ) -> Iterator[tuple[int, Reply | ModelError]]:
        """`(index, reply)` in any order, each as soon as it is done; a ModelError instead when it concerns one item."""
        ...


@dataclass(frozen=True, slots=True)
class NextToken:
    """Log-probabilities of the token that follows a prompt.

    Attributes:
        ids: token ids, int64, shape (k,), most probable first; k is the vocabulary or the top asked for.
        logprobs: their natural-log probabilities, float32, shape (k,).
    """

    ids: npt.NDArray[np.int64]
    logprobs: npt.NDArray[np.float32]

    @property
    def missing_mass(self) -> float:
        """Probability of all tokens that are not listed."""
        return max(0.0, 1.0 - float(np.exp(self.logprobs.astype(np.float64)).sum()))


@runtime_checkable
class TokenizingModel(Protocol):
    """A model whose own tokenizer can be asked."""

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`; with `special`, the spelling of a control token becomes that token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens spelled out; bytes that are no character become U+FFFD.

        Raises:
            RequestRefusedError: an id that the model does not have.
        """
        ...


@runtime_checkable
class VocabularyModel(Protocol):
    """A model whose tokenizer is at hand as a whole, token by token."""

    @property
    def vocabulary(self) -> Tokenizer: ...


@runtime_checkable
class ContextModel(Protocol):
    """A model that knows how much it can read, and how much a conversation takes of it."""

    @property
    def context_length(self) -> int:
        """Tokens of prompt and reply together."""
        ...

    def count_tokens(self, messages: Sequence[Message], options: Options = ...) -> int:
        """Tokens of the prompt that `stream` would send for these messages, generation prompt included."""
        ...


@runtime_checkable
class CompletionModel(Protocol):
    """A model that continues plain text, without a chat template."""

    def complete(self, prompt: str | Sequence[int], options: Options = ...) -> Iterator[Chunk]:
        """What follows a prompt, piece by piece; closing the iterator stops the engine's work.

        Args:
            prompt: text, in which spellings of control tokens are text and to which the tokenizer's own beginning (BOS)
                is added; or token ids, sent as they are.
        """
        ...


@runtime_checkable
class LogitModel(TokenizingModel, Protocol):
    """A model that gives next-token log-probabilities for prompts, before any sampling option is applied."""

    def next_token(self, prompts: Sequence[Sequence[int]], top: int | None = None) -> Iterator[NextToken]:
        """For each prompt (token ids, sent as they are: no BOS is added), in order.

        Args:
            top: list only this many tokens; None lists the whole vocabulary.
        """
        ...


@runtime_checkable
class EncodingModel(Protocol):
    """A model that says whether it is an encoder-decoder."""

    @property
    def encoder_decoder(self) -> bool: ...


def answers_apart(model: object) -> bool:
    """Whether a model reads a prompt as a whole and answers in a text of its own, as an encoder-decoder does (T5).

    All others go on with the prompt, from its last token.
    """
    return isinstance(model, EncodingModel) and model.encoder_decoder


@runtime_checkable
class HiddenStateModel(Protocol):
    """A model whose inner vectors can be looked at."""

    def hidden_states(
        self, prompts: Sequence[Sequence[int]], depths: Sequence[float]
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """`(index, states)` for each prompt (token ids), in any order, each as soon as it is known.

        Args:
            depths: which layers: 0 is what enters the first one, 1 what leaves the last one.

        Returns:
            Shape (len(depths), 2, width): the vector of the prompt's last token, and the mean of all its tokens'.
        """
        ...


class ReplyStream(Iterator[Chunk]):
    """A streamed reply that can be stopped at any instant: `close` works from any thread, and wakes the one that reads.

    Args:
        chunks: the reply.
        stop: makes `chunks` end soon, whatever it waits for. May be called more than once.
    """

    def __init__(self, chunks: Generator[Chunk], stop: Callable[[], None]) -> None:
        self._chunks = chunks
        self._stop = stop

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def close(self) -> None:
        """Stop. The reply ends here; closing twice is harmless."""
        self._stop()
        with contextlib.suppress(ValueError):  # another thread is inside it, wakes up now, and cleans up itself
            self._chunks.close()


def drain(chunks: Iterator[Chunk]) -> Reply:
    """The finished reply of a stream."""
    started = time.perf_counter()
    text: list[str] = []
    reasoning: list[str] = []
    tool_calls: list[ToolCall] = []
    logprobs: list[TokenLogprob] = []
    finish_reason = None
    usage = Usage()
    citations: list[Citation] = []
    for chunk in chunks:
        text.append(chunk.text)
        reasoning.append(chunk.reasoning)
        tool_calls.extend(chunk.tool_calls)
        logprobs.extend(chunk.logprobs)
        finish_reason = chunk.finish_reason or finish_reason
        usage = chunk.usage or usage
        citations.extend(chunk.citations)
    return Reply(
        text="".join(text),
        reasoning="".join(reasoning),
        tool_calls=tuple(tool_calls),
        logprobs=tuple(logprobs),
        finish_reason=finish_reason,
        usage=usage,
        seconds=time.perf_counter() - started,
        citations=tuple(citations),
    )


def reply(model: ChatModel, messages: Sequence[Message], options: Options = Options()) -> Reply:  # noqa: B008
    """The finished reply to one conversation."""
    return drain(model.stream(messages, options))


def replies(
    model: ChatModel,
    conversations: Sequence[Sequence[Message]],
    options: Options = Options(),  # noqa: B008
) -> Iterator[tuple[int, Reply | ModelError]]:
    """`(index, reply)` for many conversations, in the order in which they finish.

    A batch model gets them all at once; otherwise at most `model.concurrency` streams are open at a time, and the next
    is opened when a finished reply is taken. An error that concerns one item takes that item's place; any other is
    raised, after the replies that were already under way. Closing the iterator closes the open streams.
    """
    if isinstance(model, BatchModel):
        yield from model.reply_many(conversations, options)
        return
    asking = _Asking(model, conversations, options)
    waiting = iter(range(len(conversations)))
    under_way = 0
    fatal: BaseException | None = None
    try:
        for index in itertools.islice(waiting, max(1, model.concurrency)):
            asking.ask(index)
            under_way += 1
        while under_way:
            index, outcome = asking.finished.get()
            under_way -= 1
            if isinstance(outcome, BaseException) and not (
                isinstance(outcome, ModelError) and outcome.concerns_one_item
            ):
                fatal = fatal or outcome
                continue
            if fatal is None and (following := next(waiting, None)) is not None:
                asking.ask(following)
                under_way += 1
            yield index, outcome
        if fatal is not None:
            raise fatal
    finally:
        asking.stop()


class _Asking:
    """Threads that drain streams and can be told to stop.

    Not a ThreadPoolExecutor: the interpreter waits for its threads when it exits, however long a stream is silent.
    """

    def __init__(self, model: ChatModel, conversations: Sequence[Sequence[Message]], options: Options) -> None:
        self.finished: queue.SimpleQueue[tuple[int, Reply | BaseException]] = queue.SimpleQueue()
        self._model = model
        self._conversations = conversations
        self._options = options
        self._to_ask: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._open: dict[int, Iterator[Chunk]] = {}
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)

    def ask(self, index: int) -> None:
        """Ask for one reply, on a thread that is idle, else on a new one."""
        if not self._idle.acquire(blocking=False):
            name = f"whetstone-ask-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()
        self._to_ask.put(index)

    def _work(self) -> None:
        while (index := self._to_ask.get()) is not None:
            try:
                outcome: Reply | BaseException = self._drain(index)
            except BaseException as error:
                outcome = error
            self._idle.release()
            self.finished.put((index, outcome))

    def _drain(self, index: int) -> Reply:
        stream = self._model.stream(self._conversations[index], self._options)
        self._open[index] = stream
        if self._stopping.is_set():  # `stop` may have looked before this stream was there
            close_stream(stream)
        try:
            return drain(itertools.takewhile(lambda _: not self._stopping.is_set(), stream))
        finally:
            del self._open[index]
            close_stream(stream)

    def stop(self) -> None:
        """Close every open stream and end the threads."""
        self._stopping.set()
        for _ in self._threads:
            self._to_ask.put(None)
        for stream in list(self._open.values()):
            close_stream(stream)
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def close_stream(stream: Iterator[Chunk] | None) -> None:
    """Stop a stream that can be stopped, from any thread."""
    close = getattr(stream, "close", None)
    if close is not None:
        with contextlib.suppress(ValueError):  # a generator that another thread is in: it stops at its next chunk
            close()
