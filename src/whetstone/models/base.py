"""What a model is: something that streams a reply to messages. Everything else is derived from the stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from whetstone.errors import ModelError
from whetstone.types import Chunk, Message, ModelIdentity, Options, Reply, TokenLogprob, ToolCall, Usage

GREEDY = Options(temperature=0)


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
class LogitModel(Protocol):
    """A model that gives next-token log-probabilities for prompts, before any sampling option is applied."""

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`; with `special`, the spelling of a control token becomes that token."""
        ...

    def next_token(self, prompts: Sequence[Sequence[int]], top: int | None = None) -> Iterator[NextToken]:
        """For each prompt (token ids, sent as they are: no BOS is added), in order.

        Args:
            top: list only this many tokens; None lists the whole vocabulary.
        """
        ...


def drain(chunks: Iterator[Chunk]) -> Reply:
    """The finished reply of a stream."""
    started = time.perf_counter()
    text: list[str] = []
    reasoning: list[str] = []
    tool_calls: list[ToolCall] = []
    logprobs: list[TokenLogprob] = []
    finish_reason = None
    usage = Usage()
    for chunk in chunks:
        text.append(chunk.text)
        reasoning.append(chunk.reasoning)
        tool_calls.extend(chunk.tool_calls)
        logprobs.extend(chunk.logprobs)
        finish_reason = chunk.finish_reason or finish_reason
        usage = chunk.usage or usage
    return Reply(
        text="".join(text),
        reasoning="".join(reasoning),
        tool_calls=tuple(tool_calls),
        logprobs=tuple(logprobs),
        finish_reason=finish_reason,
        usage=usage,
        seconds=time.perf_counter() - started,
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

    A batch model gets them all at once; otherwise at most `model.concurrency` streams are open at a time. An error that
    concerns one item takes that item's place; any other is raised, after the replies that had already finished.
    """
    if isinstance(model, BatchModel):
        yield from model.reply_many(conversations, options)
        return

    def ask(index: int) -> Reply | ModelError:
        try:
            return reply(model, conversations[index], options)
        except ModelError as error:
            if not error.concerns_one_item:
                raise
            return error

    waiting = iter(range(len(conversations)))
    pool = ThreadPoolExecutor(max_workers=max(1, model.concurrency), thread_name_prefix="whetstone-ask")
    running: dict[Future[Reply | ModelError], int] = {}
    try:
        for index in waiting:
            running[pool.submit(ask, index)] = index
            if len(running) == model.concurrency:
                break
        fatal: BaseException | None = None
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=running.__getitem__):
                index = running.pop(future)
                if (error := future.exception()) is not None:
                    fatal = fatal or error
                    continue
                yield index, future.result()
                if fatal is None and (following := next(waiting, None)) is not None:
                    running[pool.submit(ask, following)] = following
        if fatal is not None:
            raise fatal
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
